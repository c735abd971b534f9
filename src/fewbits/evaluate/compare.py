"""Models side by side: the same data, the same code, and speeds taken in turn, so that a slow moment meets all of them.

All models of a comparison are in memory together. The reference of `kl` and `top1` is what the user names; else the model
that a scheme was applied to; else the original that a saved folder remembers, if it can be loaded.
"""

from collections.abc import Sequence

from fewbits import models
from fewbits.apply import plan_of, quantize
from fewbits.errors import FewbitsError
from fewbits.evaluate.entry import Entry
from fewbits.evaluate.quality import Quality
from fewbits.evaluate.row import Row
from fewbits.evaluate.settings import Settings
from fewbits.evaluate.speed import measure_speed
from fewbits.measure.arithmetic import with_kernels
from fewbits.measure.divergence import Remembered
from fewbits.measure.result import Measure
from fewbits.measure.running import device_of
from fewbits.measure.size import resident, size
from fewbits.measure.speed import quantize_time
from fewbits.models import Loaded
from fewbits.models.options import arithmetic_dtype
from fewbits.plan import Plan
from fewbits.runtime import cpu
from fewbits.storage.load import original_of


def evaluate(names: Sequence[str], schemes: Sequence[str], settings: Settings) -> list[Row]:
    """Measure each model, and the first of them under each scheme besides. Raises FewbitsError for any that cannot be."""
    plans = [Plan.of(scheme, on_misfit=settings.on_misfit) for scheme in schemes]
    entries = [entry_of(_load(name, settings), settings) for name in names]
    entries[1:1] = [_quantized(names[0], plan, settings) for plan in plans]
    _find_references(entries, len(plans), settings)
    quality = Quality(settings=settings)
    with with_kernels(settings.arithmetic == "kernels"):
        for entry in entries:
            entry.measures |= quality.of(entry)
    for task in dict.fromkeys(entry.loaded.task for entry in entries):
        measure_speed([e for e in entries if e.loaded.task == task], settings)
    return [entry.row(tuple(quality.sources)) for entry in entries]


def _load(name: str, settings: Settings) -> Loaded:
    return models.load(name, classes=settings.classes, device=settings.device, trust_remote_code=settings.trust_remote_code)


def entry_of(loaded: Loaded, settings: Settings, *, cast: bool = True, **measures: Measure) -> Entry:
    """Sizes are those of the model as it is stored; from here on it is cast to the dtype of the arithmetic.

    Without `cast` the model is in that dtype already, and its size among the `measures`.
    """
    found = {"size": size(loaded.model), **measures}
    dtype = arithmetic_dtype(settings.dtype, settings.device)
    if dtype is not None and cast:
        loaded.model.to(dtype)
    if cpu.running():
        cpu.prepare(loaded.model)  # as at the first use, so that `resident` counts what is made then
    found["resident"] = resident(loaded.model)
    wanted = settings.wanted(loaded.task)
    return Entry(loaded=loaded, measures={k: v for k, v in found.items() if k in (*wanted, *measures)}, notes=_slow(loaded))


def _slow(loaded: Loaded) -> list[str]:
    """Why a quantized model is dequantized at each use, where it is."""
    problem = cpu.why_not() or (None if cpu.running() else "the CPU kernels are turned off (FEWBITS_KERNELS=0)")
    if problem is None or device_of(loaded.model).type != "cpu" or plan_of(loaded.model) is None:
        return []
    return [f"quantized layers are dequantized at each use, which is slow: {problem}"]


def _quantized(name: str, plan: Plan, settings: Settings) -> Entry:
    loaded = _load(name, settings)
    _, took = quantize_time(lambda: quantize(loaded.model, plan), settings.device)
    return entry_of(loaded, settings, quantize_time=took)


def _find_references(entries: list[Entry], schemes: int, settings: Settings) -> None:
    """Give each entry the model that it is held against. Each is loaded once and answers each input once."""
    known: dict[str, Remembered] = {}
    if settings.reference is None:
        known = {e.loaded.name: Remembered(e.model) for e in entries if plan_of(e.model) is None}
    for at, entry in enumerate(entries):
        name = settings.reference or _original(entry, entries[0] if 0 < at <= schemes else None)
        if name is None or not {"kl", "top1"} & set(settings.wanted(entry.loaded.task)):
            continue
        try:
            if name not in known:
                known[name] = Remembered(entry_of(_reference(name, entry, settings), settings).model)
        except FewbitsError as error:
            if settings.reference:
                raise
            entry.notes.append(f"{entry.loaded.name}: no kl and top1, since its original is not to be had: {error}")
        else:
            entry.reference = known[name]


def _reference(name: str, entry: Entry, settings: Settings) -> Loaded:
    """A reference that the user named is loaded as any model; one that a saved folder names, without download or code."""
    if settings.reference is None and entry.loaded.folder is not None and name == original_of(entry.loaded.folder):
        return models.load_original(name, classes=settings.classes, device=settings.device)
    return _load(name, settings)


def _original(entry: Entry, base: Entry | None) -> str | None:
    """The name of the model that this one was made from; None for one that is not quantized."""
    if plan_of(entry.model) is None:
        return None
    if base is not None:
        return base.loaded.name
    return None if entry.loaded.folder is None else original_of(entry.loaded.folder)
