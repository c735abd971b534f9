"""`x` times a quantized layer's weight, by the kernels."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewbits.errors import FewbitsError
from fewbits.runtime.cpu.operators import cpu_linear, multiply
from fewbits.runtime.cpu.pack import FLOATS, Pack, pack, version_of
from fewbits.runtime.modes import autocast_dtype, constant_for_jit, has_memory, is_jit_traced, is_traced, wants_gradient

if TYPE_CHECKING:
    from fewbits.layers import QuantizedLayer

_NAME = "_cpu_pack"
_exact = False


@contextmanager
def exact_activations(wanted: bool = True) -> Iterator[None]:
    """Within: multiply by the activations as they are, in f32, not rounded to 8 bits. Slower, above all in batches."""
    global _exact
    before, _exact = _exact, wanted
    try:
        yield
    finally:
        _exact = before


def exactly() -> bool:
    """Whether the activations are taken as they are now."""
    return _exact


def linear(layer: "QuantizedLayer", x: Float[Tensor, "*batch i"]) -> Float[Tensor, "*batch o"] | None:
    """`x` times the layer's weight, plus its bias; None if there is no kernel for it, or a gradient is wanted.

    While a graph is traced (torch.compile, torch.export, torch.jit.trace), a layer takes part that was packed before
    (`prepare`). Under torch.autocast x and bias are cast as for nn.Linear.
    """
    bias = layer._parameters["bias"]  # past nn.Module's __getattr__: here every microsecond is one of each layer and token
    if wants_gradient(x, bias):
        return None
    dtype = autocast_dtype(x)
    if dtype is not None:
        x, bias = x.to(dtype), None if bias is None else bias.to(dtype)
    if x.dtype not in FLOATS or not x.is_cpu or (bias is not None and (bias.dtype != x.dtype or not bias.is_cpu)):
        return None
    tracing = is_traced(x)
    weight = _packed_for_tracing(layer) if tracing else packed(layer)
    if weight is None or x.dim() == 0 or x.shape[-1] != weight.cols or (bias is not None and bias.shape[0] != weight.rows):
        return None
    if tracing:
        return _traced(x, weight, bias)
    try:
        return multiply(x, weight, bias, exact=_exact)
    except (RuntimeError, FewbitsError):  # a tensor of torch.func or a sparse one: it has no memory to read
        if has_memory(x):
            raise
        return None


def _packed_for_tracing(layer: "QuantizedLayer") -> Pack | None:
    if not is_jit_traced():
        return _packed_before(layer)
    with constant_for_jit():
        return packed(layer)


def _traced(x: Tensor, weight: Pack, bias: Tensor | None) -> Tensor:
    sizes = weight.rows, weight.cols
    scale, zero = weight.scale, weight.zero
    if is_jit_traced():
        with constant_for_jit():  # copies: torch.jit.save would give views of the codes the dtype of the codes
            scale = scale.clone(memory_format=torch.contiguous_format)
            zero = None if zero is None else zero.clone(memory_format=torch.contiguous_format)
    return cpu_linear(x, weight.codes, scale, zero, bias, str(weight.format), *sizes, _exact)


def packed(layer: "QuantizedLayer") -> Pack | None:
    """The layer's weight in the kernels' layout, made at the first call; None where there is no kernel for it.

    It is beside the stored codes, not in their place, and as large (see `packed_bytes`). It hangs on their tensor and goes
    with it when the layer is moved to another device, or its codes are replaced. It is made anew in a copy of the layer, and
    when codes, scales or zero points are replaced or changed in place.
    """
    owner = _owner(layer)
    codes = owner._buffers["codes"]
    if codes is None or not codes.is_cpu:
        return None
    held: _Held | None = codes.__dict__.get(_NAME)
    if held is None or not held.is_of(codes, owner._buffers):
        others = tuple(
            (name, t, version_of(t), t.data_ptr())
            for name, t in owner._buffers.items()
            if t is not None and name not in ("codes", "like")
        )
        held = _Held(version=version_of(codes), address=codes.data_ptr(), others=others, pack=pack(layer.quantized))
        setattr(codes, _NAME, held)
        owner.__dict__[_NAME] = _Link(weakref.ref(held))
    return held.pack


class Forgotten:
    """Nothing of it is left in a copy, nor in a pickle."""

    def __deepcopy__(self, memo: object) -> None:
        return None

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Held(Forgotten):
    """Hangs on the codes: what was made of them and of the layer's other stored tensors, and which version of each."""

    version: int
    address: int  # `tensor.data = other` changes it and not the version
    others: tuple[tuple[str, Tensor, int, int], ...]
    pack: Pack | None

    def is_of(self, codes: Tensor, buffers: dict[str, Tensor | None]) -> bool:
        if codes.data_ptr() != self.address or (self.version >= 0 and codes._version != self.version):
            return False
        for name, tensor, version, address in self.others:  # a loop: all(...) takes three times as long
            if buffers.get(name) is not tensor or tensor.data_ptr() != address:
                return False
            if version >= 0 and tensor._version != version:
                return False
        return True


@dataclass(frozen=True, eq=False)
class _Link(Forgotten):
    """Hangs on the layer: torch.export puts other tensors in the place of the codes."""

    held: "weakref.ref[_Held]"


def _owner(layer: "QuantizedLayer") -> "QuantizedLayer":
    """The layer that stores the weight: another, where it is tied."""
    return layer._source[0] if layer._source else layer


def _packed_before(layer: "QuantizedLayer") -> Pack | None:
    owner = _owner(layer)
    held: _Held | None = getattr(owner._buffers["codes"], _NAME, None)
    link: _Link | None = owner.__dict__.get(_NAME)
    if held is None and link is not None:
        held = link.held()
    return held.pack if held is not None else None


def prepare(model: nn.Module) -> int:
    """Pack every layer of a model that has a kernel, instead of at its first use. Returns the bytes that this takes."""
    for layer in _layers(model):
        packed(layer)
    return packed_bytes(model)


def packed_bytes(model: nn.Module) -> int:
    """Bytes that a model's weights take in the kernels' layout, beside what is stored."""
    packs = {id(p): p for p in map(_packed_before, _layers(model)) if p is not None}
    return sum(p.nbytes for p in packs.values())


def _layers(model: nn.Module) -> Iterator["QuantizedLayer"]:
    from fewbits.layers import QuantizedLinear

    return (m for m in model.modules() if isinstance(m, QuantizedLinear))
