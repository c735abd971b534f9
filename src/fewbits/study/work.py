"""The work of one item, in any process. The model at work stays loaded, since most items that follow are of the same one."""

import time
import traceback
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fewbits import peers
from fewbits.apply import quantize
from fewbits.data.names import one_line
from fewbits.errors import FewbitsError
from fewbits.evaluate.compare import entry_of
from fewbits.evaluate.entry import Entry
from fewbits.evaluate.quality import Quality
from fewbits.evaluate.settings import GENERATION
from fewbits.evaluate.speed import measure_speed
from fewbits.measure.arithmetic import with_kernels
from fewbits.measure.divergence import Remembered
from fewbits.measure.result import Measure
from fewbits.measure.running import dtype_of
from fewbits.measure.size import size
from fewbits.measure.speed import quantize_time
from fewbits.models import Loaded
from fewbits.models.options import arithmetic_dtype
from fewbits.peers.base import cast_kept, quiet
from fewbits.study import layers
from fewbits.study.items import Item, load
from fewbits.study.plain import row_to_dict
from fewbits.study.results import RowResult, Sensitivity, Weights

TIMED = frozenset({*GENERATION, "latency", "peak_memory"})


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of an item: plain data as it is stored, or the one line that says why not, and where it went wrong."""

    key: str
    made: dict[str, Any] | None = None
    error: str | None = None
    trace: str = ""
    seconds: float = 0.0


class Workshop:
    """One model with what all its rows need: itself in the dtype of the arithmetic, its answers, the data."""

    def __init__(self, item: Item) -> None:
        self.source, self.settings = item.source, item.settings
        loaded = replace(self.load(), name=item.model)
        self.original = entry_of(loaded, self.settings)
        self.remembered = Remembered(self.original.model)
        self.quality = Quality(settings=self.settings)

    def load(self) -> Loaded:
        """The model as it is stored."""
        return load(self.source, self.settings)

    @property
    def wanted(self) -> set[str]:
        return set(self.settings.wanted(self.original.loaded.task))


_workshop: Workshop | None = None


def perform(item: Item, folder: Path | None = None) -> Outcome:
    """Do the item. Whatever goes wrong becomes its outcome; `folder` keeps parts of long items, where they can be kept."""
    start = time.perf_counter()
    try:
        made = _made(item, folder)
    except FewbitsError as error:
        return Outcome(key=item.key, error=str(error), seconds=time.perf_counter() - start)
    except (Exception, MemoryError) as error:  # of any type: one row is not to end a study
        reason = f"{type(error).__name__}: {one_line(error)}"
        return Outcome(key=item.key, error=reason, trace=traceback.format_exc(), seconds=time.perf_counter() - start)
    took = time.perf_counter() - start
    return Outcome(key=item.key, made=made | {"seconds": took}, seconds=took)


def _made(item: Item, folder: Path | None) -> dict[str, Any]:
    if item.problem is not None:
        raise FewbitsError(item.problem)
    if item.kind == "weights":
        model = load(item.source, item.settings).model
        return asdict(Weights(key=item.key, model=item.model, scheme=item.scheme, layers=layers.weights(model, item.scheme)))
    shop = _shop(item)
    if item.kind == "alone":
        found, what = layers.losses(shop.load(), item.scheme, item.settings, folder)
        return asdict(Sensitivity(key=item.key, model=item.model, scheme=item.scheme, protocol=what, layers=found))
    return row_to_dict(_row(item, shop))


def _shop(item: Item) -> Workshop:
    """The workshop of the item's model; that of another is given up first, since two may not fit into memory."""
    global _workshop
    if _workshop is None or (_workshop.source, _workshop.settings) != (item.source, item.settings):
        _workshop = None
        _workshop = Workshop(item)
    return _workshop


def close() -> None:
    """Let go of the model at work."""
    global _workshop
    _workshop = None


def _row(item: Item, shop: Workshop) -> RowResult:
    settings = shop.settings
    made = RowResult(key=item.key, model=item.model, label=item.label, plan=item.plan)
    if item.row is not None and item.row.peer is not None:
        entry, made = _of_peer(item, shop, made)
    elif item.plan is not None:
        entry, made = _of_plan(item, shop, made)
    else:
        entry = Entry(loaded=shop.original.loaded, measures=dict(shop.original.measures), notes=list(shop.original.notes))
    if entry.model is not shop.original.model and {"kl", "top1"} & shop.wanted:
        entry.reference = shop.remembered
    with quiet(), with_kernels(settings.arithmetic == "kernels"):
        entry.measures |= shop.quality.of(entry)
    with quiet():
        beside = _speeds(entry, shop)
    order = [*settings.wanted(entry.loaded.task), "quantize_time"]
    measures = {name: entry.measures[name] for name in order if name in entry.measures}
    missing = [f"no {name}: {reason}" for name, reason in entry.errors.items()]
    return replace(made, measures=measures, beside=beside, notes=(*made.notes, *entry.notes, *missing))


def _speeds(entry: Entry, shop: Workshop) -> dict[str, Measure]:
    """Time the model, in turn with the original, and return what the original took."""
    beside = Entry(loaded=shop.original.loaded, measures={})
    pair = [entry] if entry.model is shop.original.model else [beside, entry]
    if TIMED & shop.wanted:
        measure_speed(pair, shop.settings)
    return beside.measures


def _of_plan(item: Item, shop: Workshop, made: RowResult) -> tuple[Entry, RowResult]:
    loaded = replace(shop.load(), name=item.model)
    if item.plan is None:
        raise TypeError("an item without a plan")
    plan = item.plan
    _, took = quantize_time(lambda: quantize(loaded.model, plan), shop.settings.device)
    entry = entry_of(loaded, shop.settings, quantize_time=took)
    found = layers.errors(entry.model, shop.original.model)
    return entry, replace(made, coverage=plan.coverage, layers=found)


def _of_peer(item: Item, shop: Workshop, made: RowResult) -> tuple[Entry, RowResult]:
    if item.row is None or item.row.peer is None:
        raise TypeError("an item without a peer")
    peer = peers.make(item.row.peer, item.row.options)
    loaded = replace(shop.load(), name=item.model)
    dtype = arithmetic_dtype(shop.settings.dtype, shop.settings.device) or dtype_of(loaded.model)
    coverage, took = quantize_time(lambda: peer.apply(loaded.model, dtype), shop.settings.device)
    stored = size(loaded.model)
    cast_kept(loaded.model, dtype)
    entry = entry_of(loaded, shop.settings, cast=False, size=stored, quantize_time=took)
    return entry, replace(made, coverage=coverage, peer=f"{item.row.peer} {peer.check()}", notes=peer.notes)
