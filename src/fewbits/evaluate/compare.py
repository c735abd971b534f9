"""Models side by side: the same data, the same code, and speeds taken in turn, so that a slow moment meets all of them.

All models of a comparison are in memory together. What one model, or one measure, cannot do is noted in its row, and the
others are measured. Bad input that concerns all of them, and a comparison of which nothing is left, raise.
"""

from collections.abc import Sequence
from dataclasses import replace

from fewbits import models
from fewbits.apply import plan_of, quantize
from fewbits.errors import FewbitsError
from fewbits.evaluate.casting import prepare
from fewbits.evaluate.entry import Entry, Failed
from fewbits.evaluate.quality import Quality
from fewbits.evaluate.references import References
from fewbits.evaluate.row import Row
from fewbits.evaluate.settings import BY_TASK, OTHER_MEASURES, QUALITY, Settings
from fewbits.evaluate.speed import measure_speed
from fewbits.measure.arithmetic import compared, with_kernels
from fewbits.measure.result import Measure
from fewbits.measure.running import device_of
from fewbits.measure.size import resident, size
from fewbits.measure.speed import quantize_time
from fewbits.models import Loaded
from fewbits.models.options import arithmetic_dtype
from fewbits.plan import Plan
from fewbits.runtime import cpu


def evaluate(names: Sequence[str], schemes: Sequence[str], settings: Settings) -> list[Row]:
    """Measure each model, and the first of them under each scheme besides.

    Args:
        names: Models by name.
        schemes: Schemes for the first model.
        settings: What is measured, on what, and how.

    Returns:
        A row for each model, then for each scheme after the first. A row that has `failed` says why.

    Raises:
        FewbitsError: Bad input that concerns all models, a scheme that does not fit the first one, or nothing that can be
            measured.
    """
    plans = [Plan.of(scheme, on_misfit=settings.on_misfit) for scheme in schemes]
    made = [_attempt(name, None, settings) for name in names]
    made[1:1] = [
        _attempt(names[0], plan, settings)
        if isinstance(made[0], Entry)
        else Failed(name=names[0], plan=str(plan), error=made[0].error)
        for plan in plans
    ]
    entries = [each for each in made if isinstance(each, Entry)]
    if not entries:
        raise _first_error([each for each in made if isinstance(each, Failed)])
    _check_applies(entries, settings)
    quality = Quality(settings=settings)
    references = References(settings=settings, load=lambda name: _load(name, settings))
    schemed = [each for each in made[1 : 1 + len(plans)] if isinstance(each, Entry)]
    references.find(entries, schemed, quality)
    _check_data(entries, quality)
    with with_kernels(settings.arithmetic == "kernels"), compared() as rounding:
        for entry in entries:
            quality.add_to(entry)
            entry.notes += _rounding(entry, rounding.get(id(entry.model), 0.0))
    for task in dict.fromkeys(entry.loaded.task for entry in entries):
        measure_speed([e for e in entries if e.loaded.task == task], settings, keep=True)
    _check_any(entries, settings)
    wanted = settings.measures or tuple(dict.fromkeys(name for entry in entries for name in entry.measures))
    return [each.row(tuple(quality.sources) if isinstance(each, Entry) else wanted) for each in made]


def _rounding(entry: Entry, kl: float) -> list[str]:
    """A note if the CPU kernels change the model's answers noticeably: by a tenth of what quantization costs, or 0.001 nats."""
    cost = entry.measures.get("kl")
    if kl <= (1e-3 if cost is None else max(1e-5, 0.1 * abs(cost.value))):
        return []
    return [
        f"{entry.loaded.name}, {plan_of(entry.model)}: quality is that of exact arithmetic; the CPU kernels round activations"
        f" to 8 bits, which changes answers by a further KL of {kl:.2g} nats (first input): --arithmetic kernels measures both"
    ]


def _attempt(name: str, plan: Plan | None, settings: Settings) -> Entry | Failed:
    """A model, quantized if there is a plan. A plan that does not fit is bad input, and raises."""
    try:
        loaded = _load(name, settings)
        applicable = replace(settings, measures=settings.applicable(loaded.task) or ("size",))
        if plan is None:
            return entry_of(loaded, applicable, lean=True)
    except Exception as error:  # of any type: libraries' and the models' own code
        return Failed(name=name, plan=None if plan is None else str(plan), error=error.with_traceback(None))
    try:
        _, took = quantize_time(lambda: quantize(loaded.model, plan), settings.device)
        return entry_of(loaded, applicable, lean=True, quantize_time=took)
    except FewbitsError:
        raise
    except Exception as error:  # of any type: the models' own code
        return Failed(name=name, plan=str(plan), error=error.with_traceback(None))


def _first_error(failed: Sequence[Failed]) -> Exception:
    """What to raise if no model can be loaded: the first error, with those of other models after it."""
    reasons = dict.fromkeys(str(each.error) for each in failed)
    if len(reasons) > 1 and all(isinstance(each.error, FewbitsError) for each in failed):
        return FewbitsError("; ".join(reasons))
    return failed[0].error


def _check_applies(entries: Sequence[Entry], settings: Settings) -> None:
    """Raise FewbitsError for a measure that applies to none of the models; note it for some."""
    for name in settings.measures:
        other = [e for e in entries if name not in BY_TASK.get(e.loaded.task, OTHER_MEASURES)]
        if len(other) == len(entries):
            settings.wanted(entries[0].loaded.task)  # raises
        for entry in other:
            entry.errors[name] = f"does not apply to {entry.loaded.task}"


def _check_data(entries: Sequence[Entry], quality: Quality) -> None:
    """Let each model look at its data before anything is computed; raise FewbitsError if none can use it."""
    wanting = [entry for entry in entries if QUALITY & set(quality.settings.applicable(entry.loaded.task))]
    problems: list[tuple[Entry, FewbitsError]] = []
    for entry in wanting:
        try:
            quality.check(entry)
        except FewbitsError as error:
            problems.append((entry, error))
    if problems and len(problems) == len(wanting):
        raise problems[0][1]
    for entry, error in problems:
        entry.fail(sorted(QUALITY & set(quality.settings.applicable(entry.loaded.task))), error)


def _check_any(entries: Sequence[Entry], settings: Settings) -> None:
    """Raise FewbitsError if nothing that was asked for could be measured of any model."""
    if not settings.measures or any(set(entry.measures) & set(settings.measures) for entry in entries):
        return
    for entry in entries:
        for name, reason in entry.errors.items():
            raise FewbitsError(f"{entry.loaded.name}: {name}: {reason}")
    if set(settings.measures) <= {"kl", "top1"}:
        why = next(
            (note for entry in entries for note in entry.notes), "a model is held against a reference: --reference MODEL"
        )
        raise FewbitsError(f"{entries[0].loaded.name}: {' and '.join(settings.measures)}: {why}")


def _load(name: str, settings: Settings) -> Loaded:
    return models.load(name, classes=settings.classes, device=settings.device, trust_remote_code=settings.trust_remote_code)


def entry_of(loaded: Loaded, settings: Settings, *, cast: bool = True, lean: bool = False, **measures: Measure) -> Entry:
    """A model whose size is taken as it is stored; from here on it computes in the dtype of the arithmetic.

    Args:
        loaded: The model.
        settings: What is measured.
        cast: Whether to cast it; else it is in that dtype already, and its size among the `measures`.
        lean: Whether its weights may stay as they are stored (see `casting.prepare`); they cannot be looked at then.
        **measures: What was measured before.
    """
    found = {"size": size(loaded.model), **measures}
    wanted = settings.wanted(loaded.task)
    if cast and lean:
        prepare(loaded.model, settings, loaded.task)
    else:
        dtype = arithmetic_dtype(settings.dtype, settings.device)
        if dtype is not None and cast:
            loaded.model.to(dtype)
        if cpu.running():
            cpu.prepare(loaded.model)  # as at the first use, so that `resident` counts what is made then
    if "resident" in wanted:
        found["resident"] = resident(loaded.model)
    return Entry(loaded=loaded, measures={k: v for k, v in found.items() if k in (*wanted, *measures)}, notes=_slow(loaded))


def _slow(loaded: Loaded) -> list[str]:
    """Why a quantized model is dequantized at each use, where it is."""
    problem = cpu.why_not() or (None if cpu.running() else "the CPU kernels are turned off (FEWBITS_KERNELS=0)")
    if problem is None or device_of(loaded.model).type != "cpu" or plan_of(loaded.model) is None:
        return []
    return [f"quantized layers are dequantized at each use, which is slow: {problem}"]
