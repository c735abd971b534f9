"""Measures in the units that people write: `size_MiB`, `accuracy` in %, `latency_ms`, `decode_speed_x`.

A name is that of a measure, alone in its usual unit or with another after `_`. `_x` is a multiple of the original's: of speeds
that of the original timed in turn with the model, so that both met the same moments of the machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fewbits.data.names import did_you_mean, near
from fewbits.errors import FewbitsError
from fewbits.measure.result import Measure

_BYTES = {
    "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
}  # fmt: skip
_SECONDS = {"s": 1.0, "ms": 1e-3}
_SHARE = {"%": 0.01, "percent": 0.01, "share": 1.0}
_SPEED = {"tokens/s": 1.0}
# Units by measure, what one of them is in the measure's own; the first is meant where none is named.
UNITS: dict[str, Mapping[str, float]] = {
    "size": _BYTES,
    "resident": _BYTES,
    "peak_memory": _BYTES,
    "ppl": {"": 1.0},
    "kl": {"nats": 1.0},
    "top1": _SHARE,
    "accuracy": _SHARE,
    "latency": _SECONDS,
    "generate_time": _SECONDS,
    "quantize_time": _SECONDS,
    "prefill_speed": _SPEED,
    "decode_speed": _SPEED,
    "bits": {"": 1.0},
    "coverage": _SHARE,
}
MULTIPLE = "x"


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A measure in a unit; with unit `x` a multiple of the original's. `bits` and `coverage` are told by the size."""

    measure: str
    unit: str

    @classmethod
    def parse(cls, name: str) -> "Quantity":
        """Read `size_MiB`. Raises FewbitsError that tells what there is."""
        measure = next((m for m in sorted(UNITS, key=len, reverse=True) if name == m or name.startswith(f"{m}_")), None)
        if measure is None:
            known = ", ".join(UNITS)
            raise FewbitsError(f"'{name}' is no measure; there are {known}{did_you_mean(near(name, UNITS))}")
        unit = name[len(measure) + 1 :] or next(iter(UNITS[measure]))
        if unit != MULTIPLE and unit not in UNITS[measure]:
            units = [u for u in UNITS[measure] if u.isalpha()]
            raise FewbitsError(
                f"'{name}': {measure} has no unit '{unit}': {', '.join([*units, 'x for a multiple of the original'])}"
            )
        return cls(measure=measure, unit="%" if unit == "percent" else unit)

    def of(
        self, measures: Mapping[str, Measure], beside: Mapping[str, Measure], coverage: int | float = 0.0
    ) -> int | float | None:
        """The value in the unit; None where it was not measured, or there is no original to divide by."""
        own = _raw(self.measure, measures, coverage)
        if own is None or self.unit != MULTIPLE:
            return None if own is None else own / UNITS[self.measure][self.unit]
        other = _raw(self.measure, beside, 0.0)
        return own / other if other else None


def _raw(name: str, measures: Mapping[str, Measure], coverage: int | float) -> int | float | None:
    if name == "coverage":
        return coverage
    if name == "bits":
        return measures["size"].parts.get("bits_per_weight") if "size" in measures else None
    return measures[name].value if name in measures else None
