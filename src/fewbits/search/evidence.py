"""What a plan measures on data that it was not chosen by, kept by window or image, so that two plans can be compared in pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fewbits.measure.result import Measure

Z95 = 1.6448536269514722  # one-sided: a limit has one side


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Sums by cluster (a window of text, an image) of what was scored, by name: `kl`, `top1`, and `nll` or `accuracy`, or `loss`."""

    sums: Mapping[str, Sequence[float]]
    counts: Sequence[int]

    @property
    def main(self) -> str:
        """The loss that plans are compared by."""
        return "kl" if "kl" in self.sums else "loss"

    def value(self, name: str) -> float:
        """A measure by its own name; `ppl` is e to the mean nll."""
        if name == "ppl":
            return exp(min(self.value("nll"), 700.0))
        return sum(self.sums[name]) / sum(self.counts)

    def se(self, name: str) -> float:
        """Its standard error, clusters as samples."""
        if name == "ppl":
            return self.value("ppl") * self.se("nll")
        return _ratio_se(self.sums[name], self.counts)

    def measures(self, protocol: str, data: str) -> "tuple[Measure, ...]":
        """All of it as measures: `kl`, `top1`, `ppl`, `accuracy`, `loss`."""
        from fewbits.measure.result import Measure

        units = {"kl": "nats"}
        names = ["ppl" if name == "nll" else name for name in self.sums]
        return tuple(
            Measure(
                name=name,
                value=self.value(name),
                unit=units.get(name, ""),
                se=self.se(name),
                n=sum(self.counts),
                protocol=protocol,
                data=data,
            )
            for name in names
        )

    def change(self, other: "Evidence", name: str) -> tuple[float, float]:
        """How much larger a measure is here than there, and the standard error of that, cluster by cluster in pairs; of `nll`
        for `ppl`.
        """
        name = "nll" if name == "ppl" else name
        difference = [a - b for a, b in zip(self.sums[name], other.sums[name], strict=True)]
        return sum(difference) / sum(self.counts), _ratio_se(difference, self.counts)


def _ratio_se(sums: Sequence[float], counts: Sequence[int]) -> float:
    """As `measure.statistics.clustered_mean` has it."""
    k, n = len(sums), sum(counts)
    if k < 2:
        return 0.0
    mean = sum(sums) / n
    return sqrt(sum((s - mean * c) ** 2 for s, c in zip(sums, counts, strict=True)) * k / (k - 1)) / n
