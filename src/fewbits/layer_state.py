"""What a `state_dict` says about a quantized layer, and what may be loaded into one.

Stored tensors do not show their format: 16 bits of a scale are f16 or bf16, 4 bits of a code `int4` or `nf4`. So the format goes
with them: in the metadata that PyTorch keeps for each module, and on the tensors, since `dict(state)` drops the metadata. Files of
safetensors keep neither; then names, shapes and dtypes must match, and a warning in the log `fewbits` says that no more is known.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fewbits.errors import FewbitsError
from fewbits.formats import Format
from fewbits.tensor import layout

if TYPE_CHECKING:
    from fewbits.layers import QuantizedLayer

KEY = "fewbits"
_MARK = "_fewbits_format"
_STORED = ("codes", "scale", "zero", "scale_codes", "scale_steps", "zero_codes", "zero_steps")
_log = logging.getLogger("fewbits")


def mark(layer: "QuantizedLayer", state: dict[str, Any], prefix: str) -> None:
    """Note the format of a layer in a state that its tensors were just written to."""
    text = str(layer.scheme.format)
    if not layer.tied:
        metadata: dict[str, dict[str, Any]] = getattr(state, "_metadata", {})
        metadata.setdefault(prefix[:-1], {})[KEY] = text
    for name in _STORED:
        if (tensor := state.get(prefix + name)) is not None:
            setattr(tensor, _MARK, text)


def format_to_load(layer: "QuantizedLayer", state: Mapping[str, Any], prefix: str, metadata: Mapping[str, Any]) -> Format:
    """The format that the layer has after this state is loaded: its own, perhaps with another exponent.

    Raises FewbitsError, naming the layer, for a state of another format, a part of one, and the weight of a float layer.
    """
    name, own = prefix[:-1] or "(the model itself)", layer.scheme.format
    given = {key: state[prefix + key] for key in _STORED if prefix + key in state}
    if prefix + "weight" in state and not is_guard(state[prefix + "weight"]):
        raise FewbitsError(f"layer {name}: is quantized, but the state_dict has a float weight: load it, then quantize")
    if not given:
        return own
    if layer.tied:
        raise FewbitsError(
            f"layer {name}: is tied and stores no weight, but the state_dict has one: was it saved from a tied model?"
        )
    found = _format_of(given, metadata)
    if found is None:
        _log.warning("layer %s: warning: the state_dict does not say its format; it is taken for %s", name, own)
        found = own
    if replace(found, exponent=0) != replace(own, exponent=0):
        raise FewbitsError(
            f"layer {name}: is {own}, but the state_dict has {found}: quantize with that scheme, or fewbits.load"
        )
    _check_tensors(name, found, layer.shape, given)
    return found


def is_guard(tensor: Tensor) -> bool:
    """Whether this is no weight, but what a saved folder has in its place (see storage/marker.py)."""
    return tensor.dtype == torch.uint8 and tensor.dim() == 1 and tensor.numel() <= 1


def _format_of(given: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Format | None:
    """What the tensors' marks say, else the metadata. Raises FewbitsError if tensors of several formats are mixed."""
    said = {text for tensor in given.values() if (text := getattr(tensor, _MARK, None)) is not None}
    if len(said) > 1:
        raise FewbitsError(f"the state_dict mixes tensors of {' and '.join(sorted(said))} in one layer")
    text = said.pop() if said else metadata.get(KEY)
    return None if text is None else Format.parse(text)


def _check_tensors(name: str, format: Format, shape: tuple[int, ...], given: Mapping[str, Any]) -> None:
    wanted = layout(format, shape)
    if extra := sorted(given.keys() - wanted.keys()):
        raise FewbitsError(
            f"layer {name}: {format} stores no '{extra[0]}', but the state_dict has one: is it of another scheme?"
        )
    for key, (size, dtype) in wanted.items():
        have = given.get(key)
        if have is None:
            raise FewbitsError(f"layer {name}: the state_dict lacks '{key}' of {format}: codes and scales are loaded together")
        if tuple(have.shape) != size or have.dtype != dtype:
            what = f"{tuple(have.shape)} {have.dtype}"
            raise FewbitsError(f"layer {name}: '{key}' is {what} in the state_dict, but {format} stores {size} {dtype}")
