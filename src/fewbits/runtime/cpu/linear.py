"""`x` times a quantized layer's weight, by the kernels."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewbits.runtime.cpu.operators import cpu_linear, multiply
from fewbits.runtime.cpu.pack import Pack, pack

if TYPE_CHECKING:
    from fewbits.layers import QuantizedLayer

_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
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
    """`x` times the layer's weight, plus its bias; None where there is no kernel for it, or a gradient is wanted.

    While a graph is traced (torch.compile, torch.export), a layer takes part that was packed before (`prepare`).
    """
    bias = layer._parameters["bias"]  # past nn.Module's __getattr__: here every microsecond is one of each layer and token
    if x.dtype not in _FLOATS or not x.is_cpu or (bias is not None and bias.dtype != x.dtype):
        return None
    if torch.is_grad_enabled() and (x.requires_grad or (bias is not None and bias.requires_grad)):
        return None
    tracing = is_traced(x)
    weight = _packed_before(layer) if tracing else packed(layer)
    if weight is None or x.shape[-1] != weight.cols:
        return None
    if tracing:
        sizes = weight.rows, weight.cols
        return cpu_linear(x, weight.codes, weight.scale, weight.zero, bias, str(weight.format), *sizes, _exact)
    return multiply(x, weight, bias, exact=_exact)


def is_traced(x: Tensor) -> bool:
    """Whether a graph is made of what is done with this tensor, or another mode of PyTorch looks on."""
    return torch.compiler.is_compiling() or type(x) is not Tensor or torch._C._len_torch_dispatch_stack() > 0


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
            (name, t, _version(t)) for name, t in owner._buffers.items() if t is not None and name not in ("codes", "like")
        )
        held = _Held(version=_version(codes), others=others, pack=pack(layer.quantized))
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
    others: tuple[tuple[str, Tensor, int], ...]
    pack: Pack | None

    def is_of(self, codes: Tensor, buffers: dict[str, Tensor | None]) -> bool:
        if self.version >= 0 and codes._version != self.version:
            return False
        for name, tensor, version in self.others:  # a loop: all(...) takes three times as long
            if buffers.get(name) is not tensor or (version >= 0 and tensor._version != version):
                return False
        return True


@dataclass(frozen=True, eq=False)
class _Link(Forgotten):
    """Hangs on the layer: torch.export puts other tensors in the place of the codes."""

    held: "weakref.ref[_Held]"


def _version(tensor: Tensor) -> int:
    """How often a tensor was changed in place; what was made in inference mode does not count that."""
    return -1 if tensor.is_inference() else tensor._version


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
