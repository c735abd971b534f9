"""Where a transformers model keeps the state of a generation, whatever the release and the architecture call it.

Up to 5.23 `forward` takes `past_key_values` (Mamba: `cache_params`, RWKV: `state`) and returns an output with that attribute;
from 5.24 on both are `cache`. Everything here asks the model which names it has, never the version.
"""

import inspect
from typing import Any

from torch import Tensor, nn

NAMES = ("cache", "past_key_values", "cache_params", "state", "past_buckets_states", "mems")


def takes(model: nn.Module, option: str) -> bool:
    """Whether the model's forward has an argument of this name."""
    return option in inspect.signature(model.forward).parameters


def cache_argument(model: nn.Module) -> str | None:
    """The name of the argument of `forward` that takes the cache; None for a model that takes none."""
    parameters = inspect.signature(model.forward).parameters
    return next((name for name in NAMES if name in parameters), None)


def cache_of(output: Any) -> Any:
    """The cache in a model's output, or None."""
    names = set(output.keys()) if hasattr(output, "keys") else set(getattr(output, "__dict__", ()))
    return next((getattr(output, name) for name in NAMES if name in names), None)


def cache_tensors(cache: Any) -> list[Tensor]:
    """All tensors of a cache: keys and values, and the states of recurrent and convolutional layers."""
    found: dict[int, Tensor] = {}
    _collect(cache, found, set())
    return list(found.values())


def _collect(value: Any, found: dict[int, Tensor], seen: set[int]) -> None:
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        found[id(value)] = value
    elif isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            _collect(each, found, seen)
    elif not isinstance(value, type | nn.Module) and type(value).__module__.startswith("transformers."):
        _collect(getattr(value, "__dict__", {}), found, seen)
