"""What every measure returns: a number with its unit, its protocol, its uncertainty and what it was taken on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measured number. `se` is the standard error, `n` the tokens, images or runs, `data` the hash of what was read."""

    name: str
    value: int | float  # bytes are whole numbers, and stay so in JSON
    unit: str
    se: float | None = None
    n: int | None = None
    protocol: str | None = None
    data: str | None = None
    parts: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without what is not known; the name is the key it goes under."""
        return {k: v for k, v in asdict(self).items() if k != "name" and v not in (None, {})}
