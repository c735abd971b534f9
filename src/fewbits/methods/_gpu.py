"""A whole weight quantized on a GPU: found, rounded and packed by two kernels, without waiting for the device.

What is wrong with a weight or its scales is known only once the device is waited for. That is at once, or, within
`checked_together`, when that ends.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache

import torch
from jaxtyping import Int32, Shaped
from torch import Tensor

from fewbits import meta, solvers, solvers_gpu
from fewbits.errors import FewbitsError
from fewbits.formats import Format
from fewbits.methods import _range
from fewbits.methods._affine import MOST_ZERO
from fewbits.methods._checks import check_finite
from fewbits.methods._grids import Grids
from fewbits.methods._scales import Fit, divisors, store_fit, stores_zero_scales
from fewbits.methods.base import Method, order_of, to_groups
from fewbits.tensor import QuantizedTensor, matrix_shape, read_scale, read_zero


@dataclass
class _Later:
    """Layers whose scales are still to be looked at."""

    name: str = ""
    formats: dict[str, Format] = field(default_factory=dict)
    stats: dict[str, Int32[Tensor, " 3"]] = field(default_factory=dict)

    def add(self, format: Format, stats: Int32[Tensor, " 3"]) -> None:
        self.formats[self.name], self.stats[self.name] = format, stats

    def unusual(self, names: Collection[str]) -> list[str]:
        """Those of some layers whose scales may not fit their type, after a wait. They are not looked at again."""
        ends = _as_floats({name: self.stats[name] for name in names})
        found = [name for name, (most, _, least) in ends.items() if _range.is_unusual(self.formats[name], least, most)]
        for name in found:
            del self.stats[name]
        return found


_later: ContextVar[_Later | None] = ContextVar("later", default=None)


@contextmanager
def checked_together() -> Iterator[_Later]:
    """Within, no layer is waited for. At the end raises FewbitsError, naming the layer, for a scale that its type cannot hold.

    Set the name of what this yields before each layer.
    """
    later = _Later()
    token = _later.set(later)
    try:
        yield later
    finally:
        _later.reset(token)
    for name, most in _as_floats(later.stats).items():
        try:
            _check(later.formats[name], most)
        except FewbitsError as error:
            raise FewbitsError(f"layer {name or '(the model itself)'}: {error}") from None


@contextmanager
def not_together() -> Iterator[None]:
    """Within, a layer is waited for at once, though `checked_together` is around it."""
    token = _later.set(None)
    try:
        yield
    finally:
        _later.reset(token)


def checks_later() -> bool:
    """Whether the layer at hand is one that `checked_together` looks at later."""
    later = _later.get()
    return later is not None and later.name in later.stats


def quantize(weight: Shaped[Tensor, "..."], format: Format, method: Method) -> QuantizedTensor | None:
    """Quantize a weight (its first axis is the outputs); None where the kernels do not reach.

    Raises what `Method.quantize` raises.
    """
    if not solvers_gpu.available(weight) or not weight.is_floating_point() or format.granularity == "tensor":
        return None
    shape = tuple(weight.shape)
    rows, cols = matrix_shape(shape)
    r, c = format.block(rows, cols)
    solving = _solving(method, format, r * c, weight.dtype, weight.device.index or 0)
    if solving is None:
        return None
    matrix = weight.reshape(rows, cols).contiguous()
    found = solving.solver.fit(matrix.view(-1, c) if r == 1 else to_groups(matrix, r, c))
    _look_at(weight, format, found.stats)
    tensors = _stored(matrix, format, (r, c), found, solving.grids)
    return QuantizedTensor(format=format, shape=shape, tensors=tensors)


@dataclass(frozen=True, kw_only=True)
class _Solving:
    grids: solvers.Grids
    solver: solvers_gpu.Solver


@cache  # what it takes is prepared once for all layers: a codebook is sorted, a kernel compiled
def _solving(method: Method, format: Format, k: int, dtype: torch.dtype, device: int) -> _Solving | None:
    recipe = method.recipe(format)
    if recipe is None:
        return None
    grids = Grids(format).asked(recipe)
    if (format.is_codebook and grids.book is None) or not solvers_gpu.fits(k, grids):
        return None
    solver = solvers_gpu.solver(grids, k, dtype, device, most_zero=MOST_ZERO[format.meta], count=recipe.count)
    return _Solving(grids=grids, solver=solver)


def _stored(
    matrix: Tensor, format: Format, block: tuple[int, int], found: solvers_gpu.Found, grids: solvers.Grids
) -> dict[str, Tensor]:
    """Codes, scales and zero points as the format stores them."""
    order = order_of(format)
    scale, zero, kept, keep = found.scale, found.zero, {}, None
    if format.meta == "q8" or stores_zero_scales(format):
        kept = store_fit(Fit(scale=scale, zero=zero), format)
        grid = tuple(matrix.shape)
        scale = divisors(read_scale(format, grid, kept)).reshape(-1).contiguous()
        zero = read_zero(format, grid, kept).reshape(-1).contiguous() if format.has_zero else None  # type: ignore[union-attr]
    else:
        keep = (format.meta, found.stats, grids.least if format.meta == "f16" else 0.0)
    stream, made = solvers_gpu.encode(
        matrix, block, scale, zero, bits=format.bits, order=order, implied_zero=grids.implied_zero, book=grids.book, keep=keep
    )
    if format.integer_zero and found.zero is not None and keep is not None:
        made["zero"] = solvers_gpu.to_stream(found.zero.to(torch.uint8), format.bits)
    return {"codes": stream, **kept, **made}


def _look_at(weight: Tensor, format: Format, stats: Int32[Tensor, " 3"]) -> None:
    later = _later.get()
    if later is not None:
        return later.add(format, stats)
    try:
        _check(format, _as_floats({"": stats})[""])
    except FewbitsError:
        check_finite(weight)  # says more of NaN and infinity
        raise
    return None


def _check(format: Format, most: tuple[float, float, float]) -> None:
    meta.check_range("scale", most[0], format.meta)
    if format.has_zero and not format.integer_zero:
        meta.check_range("zero", most[1], format.meta)


def _as_floats(stats: Mapping[str, Int32[Tensor, " 3"]]) -> dict[str, tuple[float, float, float]]:
    """The largest scale and zero point of each and the smallest scale above 0 (else NaN), after one wait for each device."""
    found: dict[str, tuple[float, float, float]] = {}
    for device in {s.device for s in stats.values()}:
        here = {name: s for name, s in stats.items() if s.device == device}
        rows = torch.stack(list(here.values())).view(torch.float32).tolist()
        found |= {name: (row[0], row[1], row[2]) for name, row in zip(here, rows, strict=True)}
    return found
