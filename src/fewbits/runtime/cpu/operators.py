"""The kernels as an operator of PyTorch, for graphs; and as a plain function, which is some microseconds faster."""

import weakref
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from fewbits.errors import FewbitsError
from fewbits.formats import Format
from fewbits.runtime.cpu import library
from fewbits.runtime.cpu.checks import check_product, check_storage
from fewbits.runtime.cpu.pack import Pack, assemble, version_of

_ASSEMBLED = "_cpu_assembled"
_TYPES = {torch.float32: library.F32, torch.float16: library.F16, torch.bfloat16: library.BF16}


def multiply(
    x: Float[Tensor, "*batch i"], weight: Pack, bias: Float[Tensor, " o"] | None, *, exact: bool = False
) -> Float[Tensor, "*batch o"]:
    """`x` times a packed weight, plus bias.

    Args:
        x: at least one dimension, the last of which is the weight's inputs; on the CPU, f32, f16 or bf16.
        weight: the packed weight.
        bias: of the dtype of x.
        exact: multiply by the activations as they are, in f32.

    Raises:
        RuntimeError: x has no memory of its own (a tensor of torch.func, a sparse one).
        MemoryError: there is no memory for the activations.
    """
    flat = x if x.dim() == 2 else x.reshape(-1, weight.cols)
    rows = len(flat)
    stride, step = flat.stride()
    if step != 1:
        flat, stride = flat.resolve_neg().contiguous(), weight.cols
    if bias is not None and not bias.is_contiguous():
        bias = bias.contiguous()
    out = flat.new_empty((rows, weight.rows))  # torch.empty with a dtype takes 1 us longer
    status = library.load().fewbits_linear(
        weight.address,
        flat.data_ptr(),
        out.data_ptr(),
        None if bias is None else bias.data_ptr(),
        rows,
        stride,
        _TYPES[x.dtype],
        torch.get_num_threads(),
        weight.one_step,
        exact,
    )
    if status:
        library.check(status, f"{rows} x {weight.cols} activations")
    return out if flat is x else out.view(*x.shape[:-1], weight.rows)


@torch.library.custom_op("fewbits::cpu_linear", mutates_args=(), device_types="cpu")
def cpu_linear(
    x: Tensor,
    codes: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    bias: Tensor | None,
    format: str,
    rows: int,
    cols: int,
    exact: bool,
) -> Tensor:
    """`multiply` with the parts of a Pack one by one. Raises FewbitsError if they do not fit each other."""
    parsed = Format.parse(format)
    check_product(x, codes, scale, zero, bias, parsed, rows, cols)
    check_storage(x=x, codes=codes, scale=scale, zero=zero, bias=bias)
    if not library.available():
        raise FewbitsError(str(library.why_not()))
    return multiply(x, _pack_of(parsed, rows, cols, codes, scale, zero), bias, exact=exact)


@cpu_linear.register_fake
def _(
    x: Tensor,
    codes: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    bias: Tensor | None,
    format: str,
    rows: int,
    cols: int,
    exact: bool,
) -> Tensor:
    check_product(x, codes, scale, zero, bias, Format.parse(format), rows, cols)
    return x.new_empty((*x.shape[:-1], rows))


@cpu_linear.register_vmap
def _(info: Any, in_dims: tuple[int | None, ...], x: Tensor, *others: Any) -> tuple[Tensor, int]:
    """Any number of leading dimensions is one product; a weight cannot be batched."""
    if any(dim is not None for dim in in_dims[1:]):
        raise FewbitsError("fewbits::cpu_linear: only x can be batched by torch.vmap")
    return cpu_linear(x.movedim(in_dims[0] or 0, 0), *others), 0


@dataclass(frozen=True, kw_only=True, eq=False)
class _Assembled:
    """What was made of the parts of a Pack, attached to its codes. It keeps none of them alive."""

    of: tuple[str, int, int]
    versions: tuple[int, ...]
    addresses: tuple[int, ...]
    others: tuple["weakref.ref[Tensor]", ...]
    made: dict[str, Any]

    def is_of(self, of: tuple[str, int, int], parts: tuple[Tensor, ...]) -> bool:
        return (
            self.of == of
            and len(self.others) == len(parts) - 1
            and all(ref() is part for ref, part in zip(self.others, parts[1:], strict=True))
            and self.versions == tuple(map(version_of, parts))
            and self.addresses == tuple(part.data_ptr() for part in parts)
        )


def _pack_of(format: Format, rows: int, cols: int, codes: Tensor, scale: Tensor, zero: Tensor | None) -> Pack:
    """The Pack of these tensors: the same as before if they are the same objects, unchanged, at the same addresses."""
    parts = (codes, scale) if zero is None else (codes, scale, zero)
    of = str(format), rows, cols
    held: _Assembled | None = codes.__dict__.get(_ASSEMBLED)
    if held is not None and held.is_of(of, parts):
        return Pack(format=format, rows=rows, cols=cols, codes=codes, scale=scale, zero=zero, **held.made)
    pack = assemble(format, rows, cols, codes, scale, zero)
    held = _Assembled(
        of=of,
        versions=tuple(map(version_of, parts)),
        addresses=tuple(part.data_ptr() for part in parts),
        others=tuple(weakref.ref(part) for part in parts[1:]),
        made={name: getattr(pack, name) for name in ("weight", "address", "one_step", "energy")},
    )
    setattr(codes, _ASSEMBLED, held)
    return pack
