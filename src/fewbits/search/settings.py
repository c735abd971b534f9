"""How a search is done, and by which data."""

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


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """What is read. `verify` is a text or images of their own; without it a part of the other data is kept for it.

    `tokens` and `choose` are the tokens and images that plans are chosen by, `max_tokens` and `max_images` those verified on.
    """

    text: str | None = None
    images: str | None = None
    verify: str | None = None
    tokens: int = 4096
    choose: int = 400
    max_tokens: int = 10_000
    max_images: int = 1_600
    protocol: str = "windows:512"
    samples: int = 64
    seed: int = 0
