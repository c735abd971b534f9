"""How a search is done."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`samples` pseudo-losses for the cheap sensitivities; `measure`: also one layer at a time; `rounds` of correction.

    `batch` sequences (or images) at a time and a `context` in tokens are what memory and speeds are told for.
    """

    samples: int = 64
    measure: bool = False
    rounds: int = 2
    seed: int = 0
    batch: int = 1
    context: int = 0
