"""All that doctor tells of a model: its layers' times, what they add up to, and the speeds that follow."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from fewbits import models
from fewbits.apply import plan_of, resolve
from fewbits.doctor.layers import FLOAT, LayerTime, time_layer
from fewbits.doctor.limits import Limits
from fewbits.doctor.predict import Prediction, check, predict
from fewbits.errors import FewbitsError
from fewbits.layers import replacement_for
from fewbits.measure.size import skeleton
from fewbits.measure.speed import Timing
from fewbits.plan import OnMisfit, Plan
from fewbits.progress import track

BATCHES = (1, 4, 16, 64, 256)  # rows of a layer's input
SCHEMES = ("rtn:int8", "hqq:uint4g64")  # where none is named

Shape = tuple[int, int]  # outputs, inputs


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`check`: load the model and measure what was predicted."""

    schemes: tuple[str, ...] = SCHEMES
    check: bool = False
    repeats: int = 7
    on_misfit: OnMisfit = "error"
    trust_remote_code: bool = False


@dataclass(frozen=True, kw_only=True)
class Examined:
    """`shapes` counts the linear layers of each shape; `times` are those of one layer; `slower_from` has for each plan the
    least batch at which its layers together are not faster than in float32, None where there is none up to 256.
    `predictions` is empty for what is no language model.
    """

    model: str
    shapes: dict[Shape, int]
    times: list[LayerTime]
    plans: tuple[Plan, ...]
    slower_from: tuple[int | None, ...]
    predictions: list[Prediction]


def examine(name: str, limits: Limits, settings: Settings) -> Examined:
    """Time a model's layers here and predict its speeds, from its configuration alone unless they are to be checked.

    Raises FewbitsError for a model that cannot be had, or is quantized already, and for a scheme that does not fit it.
    """
    loaded = models.load(name, weights=False, trust_remote_code=settings.trust_remote_code)
    bare = loaded.model
    if plan_of(bare) is not None:
        raise FewbitsError(f"{name}: is quantized already: give the original, and its scheme as --scheme {plan_of(bare)}")
    plans = tuple(resolve(skeleton(bare), Plan.of(s, on_misfit=settings.on_misfit)) for s in settings.schemes)
    chosen = [_formats(bare, plan) for plan in plans]
    shapes = Counter(shape for shape, _ in _linear(bare).values())
    times = []
    for shape in track(shapes, "timing layers", unit="shape"):
        formats = [found[layer] for found in chosen for layer, (s, _) in _linear(bare).items() if s == shape]
        times += time_layer(*shape, [f for f in dict.fromkeys(formats) if f != FLOAT], BATCHES)
    slower = tuple(_slower_from(bare, found, times) for found in chosen)
    predictions: list[Prediction] = []
    if loaded.task == "causal-lm":
        timing = Timing(repeats=settings.repeats, warmup=2)
        predictions = predict(bare, plans, limits, timing)
        if settings.check:
            whole = models.load(name, trust_remote_code=settings.trust_remote_code).model
            predictions = check(whole, predictions, timing)
    return Examined(model=name, shapes=dict(shapes), times=times, plans=plans, slower_from=slower, predictions=predictions)


def _linear(model: nn.Module) -> dict[str, tuple[Shape, nn.Module]]:
    """The linear layers of a model by name, with outputs and inputs."""
    found = {}
    for name, module in model.named_modules():
        kind = replacement_for(module)
        if kind is not None and kind.takes_a8:
            rows, cols = kind.matrix_of(module).shape
            found[name] = ((rows, cols), module)
    return found


def _formats(model: nn.Module, plan: Plan) -> dict[str, str]:
    """What each linear layer is stored in."""
    schemes = {d.name: d.scheme for d in plan.decisions}
    return {name: FLOAT if (s := schemes.get(name)) is None else str(s.format) for name in _linear(model)}


def _slower_from(model: nn.Module, formats: dict[str, str], times: Sequence[LayerTime]) -> int | None:
    took = {((t.rows, t.cols), t.format, t.batch): t.seconds for t in times}
    layers = [(shape, formats[name]) for name, (shape, _) in _linear(model).items()]
    for batch in BATCHES:
        ours = sum(took[shape, format, batch] for shape, format in layers)
        if ours >= sum(took[shape, FLOAT, batch] for shape, _ in layers):
            return batch
    return None
