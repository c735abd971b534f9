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


_AT_ONCE = 1 << 23  # groups whose ends are held together: about 100 MB
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


def unusual_on_gpu(weights: Mapping[str, tuple[Tensor, Format]]) -> set[str]:
    """The names of the weights on a GPU whose scales may not fit their type: these cannot be checked together.

    It reads each weight once, and waits for all together.
    """
    found: dict[str, Tensor] = {}
    batch: dict[str, tuple[Tensor, Tensor]] = {}
    there = [name for name, (weight, _) in weights.items() if weight.is_cuda and weight.numel()]
    for i, name in enumerate(there):
        batch[name] = _ends(*weights[name])
        if i + 1 == len(there) or sum(low.numel() for low, _ in batch.values()) > _AT_ONCE:
            found |= _magnitudes(batch)
            batch = {}
    ends = dict(zip(found, _together(found.values()), strict=True)) if found else {}
    return {name for name, (least, most) in ends.items() if _range.is_unusual(weights[name][1], least, most)}


def _together(ends: Collection[Tensor]) -> list[list[float]]:
    """Their values, after one wait for each device."""
    devices = {each.device for each in ends}
    return torch.stack(list(ends) if len(devices) == 1 else [each.cpu() for each in ends]).tolist()


def _ends(weight: Tensor, format: Format) -> tuple[Tensor, Tensor]:
    """The smallest and the largest value of each group."""
    matrix = weight.detach().reshape(matrix_shape(tuple(weight.shape)))
    r, c = format.block(*matrix.shape)
    groups = matrix.reshape(-1, c) if r == 1 or format.granularity == "tensor" else matrix.reshape(-1, r, matrix.shape[1])
    low, high = torch.aminmax(groups, dim=1)
    return low.reshape(-1), high.reshape(-1)


def _magnitudes(batch: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """The smallest magnitude of a group above 0 (infinity if there is none), and the largest, for each weight: [2], f32."""
    made: dict[str, Tensor] = {}
    for device, dtype in {(low.device, low.dtype) for low, _ in batch.values()}:
        here = {name: ends for name, ends in batch.items() if (ends[0].device, ends[0].dtype) == (device, dtype)}
        lows, highs = (torch.cat(parts) for parts in zip(*here.values(), strict=True))
        most = torch.maximum(-lows, highs).float()
        lengths = torch.tensor([low.numel() for low, _ in here.values()], device=device)
        least = torch.segment_reduce(most.where(most > 0, torch.inf), "min", lengths=lengths, unsafe=True)
        both = torch.stack([least, torch.segment_reduce(most, "max", lengths=lengths, unsafe=True)], dim=1)
        made |= dict(zip(here, both.unbind(), strict=True))
    return made


def checks_later() -> bool:
    """Whether this is within `checked_together`."""
    return _later.get() is not None


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


def _check(format: Format, most: tuple[float, float]) -> None:
    meta.check_range("scale", most[0], format.meta)
    if format.has_zero and not format.integer_zero:
        meta.check_range("zero", most[1], format.meta)


def _as_floats(stats: Mapping[str, Int32[Tensor, " 3"]]) -> dict[str, tuple[float, float]]:
    """The largest scale and zero point of each, after one wait for each device."""
    found: dict[str, tuple[float, float]] = {}
    for device in {s.device for s in stats.values()}:
        here = {name: s for name, s in stats.items() if s.device == device}
        rows = torch.stack(list(here.values())).view(torch.float32).tolist()
        found |= {name: (row[0], row[1]) for name, row in zip(here, rows, strict=True)}
    return found
