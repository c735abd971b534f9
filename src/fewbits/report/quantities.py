"""How measures are told: their heads, units and digits, and which end is the better."""

from dataclasses import dataclass
from typing import Literal

from fewbits.measure.result import Measure
from fewbits.report.cells import MIB, NONE, number
from fewbits.report.page import Cell, Column, Number


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A measure as it is read: `times` turns the stored value into `unit`."""

    name: str
    head: str
    unit: str
    times: Number
    digits: int
    better: Literal["low", "high"]

    @property
    def label(self) -> str:
        """For an axis."""
        return f"{self.head}, {self.unit}" if self.unit else self.head

    @property
    def column(self) -> Column:
        return Column(head=self.head, unit=self.unit, best=self.better)

    def shown(self, measure: Measure | None) -> Number | None:
        """The value in this quantity's unit."""
        return None if measure is None else measure.value * self.times

    def cell(self, measure: Measure | None) -> Cell:
        """The value with its standard error."""
        if measure is None:
            return NONE
        return number(measure.value, self.digits, se=measure.se, times=self.times)

    def ends(self, measure: Measure) -> tuple[Number, Number] | tuple[None, None]:
        """One standard error to either side."""
        if measure.se is None:
            return None, None
        return (measure.value - measure.se) * self.times, (measure.value + measure.se) * self.times

    def worse(self, value: Number, than: Number) -> bool:
        return value > than if self.better == "low" else value < than


_KNOWN = (
    Quantity(name="size", head="size", unit="MiB", times=1 / MIB, digits=3, better="low"),
    Quantity(name="resident", head="resident", unit="MiB", times=1 / MIB, digits=3, better="low"),
    Quantity(name="file_size", head="files", unit="MiB", times=1 / MIB, digits=3, better="low"),
    Quantity(name="peak_memory", head="peak", unit="MiB", times=1 / MIB, digits=1, better="low"),
    Quantity(name="ppl", head="perplexity", unit="", times=1, digits=3, better="low"),
    Quantity(name="kl", head="KL divergence", unit="nats", times=1, digits=5, better="low"),
    Quantity(name="top1", head="same top-1", unit="%", times=100, digits=2, better="high"),
    Quantity(name="accuracy", head="accuracy", unit="%", times=100, digits=2, better="high"),
    Quantity(name="latency", head="latency", unit="ms", times=1000, digits=2, better="low"),
    Quantity(name="generate_time", head="time to generate", unit="s", times=1, digits=3, better="low"),
    Quantity(name="prefill_speed", head="reads", unit="tokens/s", times=1, digits=0, better="high"),
    Quantity(name="decode_speed", head="writes", unit="tokens/s", times=1, digits=1, better="high"),
    Quantity(name="quantize_time", head="time to quantize", unit="s", times=1, digits=2, better="low"),
)
QUANTITIES = {quantity.name: quantity for quantity in _KNOWN}
QUALITY = ("ppl", "accuracy", "kl", "top1")  # in the order in which charts prefer them
SPEED = ("decode_speed", "latency", "generate_time", "prefill_speed")


def quantity(name: str, unit: str = "") -> Quantity:
    """A known measure, or one that is shown as it is stored."""
    return QUANTITIES.get(name) or Quantity(name=name, head=name.replace("_", " "), unit=unit, times=1, digits=3, better="low")
