"""Plans that people make by hand, to stand beside the frontier: one scheme for all, or bits by the position of a block."""

import itertools
from collections.abc import Mapping, Sequence

from fewbits.formats import Format
from fewbits.search.space import Space

Choice = tuple[int, ...]


def uniform_plans(space: Space) -> dict[str, Choice]:
    """Every candidate for all units."""
    return {candidate: space.uniform(candidate) for candidate in space.candidates}


def handmade_plans(space: Space) -> dict[str, Choice]:
    """Bits by block: finer first and last quarter, 8 bits for the first two blocks, and bits that fall from block to block."""
    blocks = [_block(unit.name) for unit in space.units]
    count = 1 + max((b for b in blocks if b is not None), default=0)
    by_bits = _by_bits(space.candidates)
    if count < 4 or len(by_bits) < 2:
        return {}
    at = [0 if b is None else b for b in blocks]
    plans: dict[str, Choice] = {}
    for fine, coarse in _pairs(by_bits):
        finer = {b for b in range(count) if b < count / 4 or b >= count - count / 4}
        plans[f"{fine} bits in the first and last quarter, {coarse} between"] = _by_block(
            space, at, {b: by_bits[fine if b in finer else coarse] for b in range(count)}
        )
        falling = {b: by_bits[fine if b < count / 2 else coarse] for b in range(count)}
        plans[f"{fine} bits in the first half of the blocks, {coarse} in the second"] = _by_block(space, at, falling)
    if 8 in by_bits:
        for rest in (b for b in by_bits if b in (2, 3, 4)):
            eight = {b: by_bits[8 if b < 2 else rest] for b in range(count)}
            plans[f"8 bits in the first two blocks, {rest} after"] = _by_block(space, at, eight)
    return plans


def _by_block(space: Space, at: Sequence[int], candidate: Mapping[int, str]) -> Choice:
    return tuple(unit.option_of(candidate[block]) for unit, block in zip(space.units, at, strict=True))


def _block(name: str) -> int | None:
    """The first number in a layer's name."""
    return next((int(part) for part in name.split(".") if part.isdigit()), None)


def _by_bits(candidates: Sequence[str]) -> dict[int, str]:
    """The first candidate of each width."""
    found: dict[int, str] = {}
    for candidate in candidates:
        found.setdefault(Format.parse(candidate.rpartition(":")[2]).bits, candidate)
    return found


def _pairs(by_bits: Mapping[int, str]) -> list[tuple[int, int]]:
    """Neighbouring widths, the finer first."""
    widths = sorted(by_bits)
    return [(fine, coarse) for coarse, fine in itertools.pairwise(widths) if fine <= 5]
