"""What a decision about a model rests on, cheap enough to be taken anew at every call of `generate`.

Modules, their forward and hooks, their tensors with address and version, their plain attributes, and the configuration. Two
fingerprints of one model differ if any of these was replaced or changed in place. A write through `tensor.data`, or to a
tensor made in inference mode, leaves no trace in PyTorch and is not seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import is_
from typing import Any

from torch import Tensor, nn

from fewbits.runtime.settings import NEUTRAL

HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_PLAIN = (bool, int, float, str)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fingerprint:
    """`objects` are compared by identity, `facts` by value. The root module is not held: there is no cycle through it."""

    objects: list[object]
    facts: list[object]

    def same(self, other: "Fingerprint") -> bool:
        """Whether nothing was changed between the two."""
        return (
            len(self.objects) == len(other.objects) and all(map(is_, self.objects, other.objects)) and self.facts == other.facts
        )


def take(model: nn.Module) -> Fingerprint:
    """The fingerprint of a model as it is now."""
    objects: list[object] = []
    facts: list[object] = [config_facts(model)]
    stack: list[nn.Module | None] = [model]
    while stack:
        module = stack.pop()
        if module is None:
            continue
        if module is not model:
            objects.append(module)
        _module(module, objects, facts)
        stack.extend(module.__dict__["_modules"].values())
    return Fingerprint(objects=objects, facts=facts)


def _module(module: nn.Module, objects: list[object], facts: list[object]) -> None:
    held, kind = module.__dict__, type(module)
    objects += (kind, kind.forward, kind.__call__, held.get("forward"))
    for name in HOOKS:
        objects.extend(held[name].values())
    for tensors in (held["_parameters"], held["_buffers"]):
        for tensor in tensors.values():
            if tensor is not None:
                objects.append(tensor)
                facts += (tensor.data_ptr(), version(tensor), tensor.dtype, tensor.shape)
    facts.append(len(held["_modules"]))
    facts.extend(value for value in held.values() if type(value) in _PLAIN)


def version(tensor: Tensor) -> int:
    """How often a tensor was changed in place; -1 for one made in inference mode, which does not count that."""
    return -1 if tensor.is_inference() else tensor._version


def config_facts(model: Any) -> str:
    """The settings that may change what a model computes."""
    values: Mapping[str, Any] = vars(model.config)
    return repr({name: value for name, value in values.items() if name not in NEUTRAL})
