"""Layers by block and kind: `model.layers.3.mlp.up_proj` is `up_proj` of block 3."""

from collections.abc import Sequence
from dataclasses import dataclass

OTHER = "outside the blocks"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a layer stands: its kind and block; `block` None is outside of the blocks."""

    name: str
    kind: str
    block: int | None


def places(names: Sequence[str]) -> list[Place]:
    """The place of each layer. A kind is named by as few last parts as tell it from the others, without what all end in."""
    split = [_split(name) for name in names]
    kinds = list(dict.fromkeys(rest for block, rest in split if block is not None))
    short = _shortest(kinds)
    return [
        Place(name=name, block=block, kind=OTHER if block is None else short[rest])
        for name, (block, rest) in zip(names, split, strict=True)
    ]


def _split(name: str) -> tuple[int | None, tuple[str, ...]]:
    """The first number in a name is the block; what follows is the kind."""
    parts = name.split(".")
    for at, part in enumerate(parts):
        if part.isdigit() and at + 1 < len(parts):
            return int(part), tuple(parts[at + 1 :])
    return None, tuple(parts)


def _shortest(kinds: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    trimmed = {kind: kind for kind in kinds}
    while len(kinds) > 1 and all(len(k) > 1 for k in trimmed.values()) and len({k[-1] for k in trimmed.values()}) == 1:
        trimmed = {kind: short[:-1] for kind, short in trimmed.items()}
    for count in range(1, 9):
        named = {kind: ".".join(short[-count:]) for kind, short in trimmed.items()}
        if len(set(named.values())) == len(kinds):
            return named
    return {kind: ".".join(kind) for kind in kinds}
