"""Plans by the position of a block: a number of bits for each, or `{first 2: 8, rest: 4}`, `{first quarter: 4, rest: 3}`."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fewbits.errors import FewbitsError

_PLACE = re.compile(r"(first|last) (quarter|half|third|[1-9][0-9]{0,5})|rest")
_PARTS = {"half": 2, "third": 3, "quarter": 4}
SLOT = "{bits}"  # where the bits of a block go in the scheme
KNOWN = "first N, last N, first half|third|quarter, last half|third|quarter, rest"


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """`bits` by block, or by place (`first 2`, `last quarter`, `rest`); `scheme` has `{bits}` where they go."""

    scheme: str
    each: tuple[int, ...] = ()
    places: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        if SLOT not in self.scheme:
            raise FewbitsError(f"the scheme '{self.scheme}' has no {SLOT} for the bits of a block")
        if bool(self.each) == bool(self.places):
            raise FewbitsError(f"give bits for each block, or for places of blocks: {KNOWN}")
        for place, _ in self.places:
            if _PLACE.fullmatch(place) is None:
                raise FewbitsError(f"'{place}' is no place of blocks: {KNOWN}")

    def rules(self, layers: Iterable[str]) -> tuple[tuple[str, str], ...]:
        """Patterns and schemes for a model whose layers have these names. Raises FewbitsError where the blocks do not fit it."""
        prefix, count = blocks_of(layers)
        if self.each and len(self.each) != count:
            raise FewbitsError(f"the plan has bits for {len(self.each)} blocks, the model has {count}")
        bits = self.each or self._by_place(count)
        return tuple((f"re:{re.escape(prefix)}{i}\\..*", self.scheme.replace(SLOT, str(b))) for i, b in enumerate(bits))

    def _by_place(self, count: int) -> tuple[int, ...]:
        given: Mapping[str, int] = dict(self.places)
        bits: list[int | None] = [None] * count
        by = [""] * count
        for place, width in self.places:
            for i in _reached(place, count):
                if bits[i] not in (None, width):
                    raise FewbitsError(
                        f"block {i} of {count} has {bits[i]} bits by '{by[i]}' and {width} by '{place}': give one"
                    )
                bits[i], by[i] = width, place
        found = [given.get("rest") if width is None else width for width in bits]
        if None in found:
            raise FewbitsError(f"block {found.index(None)} of {count} has no bits: add 'rest'")
        return tuple(b for b in found if b is not None)


def _reached(place: str, count: int) -> range:
    """The blocks that a place names; none for `rest`, which takes what the others leave."""
    end, _, part = place.partition(" ")
    if end == "rest":
        return range(0)
    many = -(-count // _PARTS[part]) if part in _PARTS else int(part)
    if many > count:
        raise FewbitsError(f"'{place}': the model has {count} blocks")
    return range(many) if end == "first" else range(count - many, count)


def blocks_of(layers: Iterable[str]) -> tuple[str, int]:
    """What stands before the number of a block in the names of layers, and how many blocks there are."""
    found: dict[str, set[int]] = {}
    for name in layers:
        if match := re.match(r"(.*?\.)?(\d+)\.", name):
            found.setdefault(match[1] or "", set()).add(int(match[2]))
    if not found:
        raise FewbitsError("the model has no numbered blocks, so bits cannot be given by block")
    prefix = max(found, key=lambda p: len(found[p]))
    return prefix, max(found[prefix]) + 1
