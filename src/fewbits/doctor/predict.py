"""How fast a model would be on this machine in each scheme, told from its configuration; and what is then measured."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

import fewbits
from fewbits.apply import quantize, rebuild, resolve
from fewbits.doctor.limits import Limits
from fewbits.doctor.sample import Cut, cut_of, sample, twin
from fewbits.layers import QuantizedEmbedding
from fewbits.measure.result import Measure
from fewbits.measure.running import config_value, dtype_of
from fewbits.measure.size import size, skeleton
from fewbits.measure.speed import Generation, Run, Timing, generations, seconds
from fewbits.measure.stored import stored_tensors
from fewbits.plan import Plan, Rule
from fewbits.progress import track
from fewbits.runtime import cpu
from fewbits.runtime.decode import decoder_for
from fewbits.runtime.sampling import Sampling
from fewbits.scheme import Scheme

PROMPT, NEW = 64, 24  # tokens of a timed generation
_LOADS = 5


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """Tokens a second when a prompt of 64 is read and when text is written, one sequence; seconds to load the saved model.

    Each is that of the fastest run.
    """

    read: float
    write: float
    load: float | None


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Of one model under one plan (None: as it is). `bytes_per_token` are read for each token that is written.

    `share` is the share of the machine's bandwidth that this takes; `measured` is there after a check.
    """

    plan: Plan | None
    size: int
    bytes_per_token: int
    share: float
    predicted: Speeds
    measured: Speeds | None = None


def plain_scheme(scheme: Scheme) -> Scheme:
    """The scheme by its format's quickest method: codes of one format take the same time."""
    return Scheme.parse(str(scheme.format))


def plain_plan(plan: Plan) -> Plan:
    """The same layers in the same formats, each by the quickest method."""
    rules = [Rule(match=r.match, scheme=None if r.scheme is None else plain_scheme(r.scheme)) for r in plan.rules]
    return Plan(rules=tuple(rules), on_misfit=plan.on_misfit)


def predict(bare: nn.Module, plans: Sequence[Plan], limits: Limits, timing: Timing) -> list[Prediction]:
    """Speeds of a model on the meta device as it is, then under each plan. Raises FewbitsError where a plan does not fit."""
    resolved = [None, *(resolve(skeleton(bare), plan) for plan in plans)]
    cut, dtype = cut_of(bare), dtype_of(bare)
    runs = measure([sample(bare, n) for n in track(cut.samples, "making samples", unit="sample")], plans, dtype, timing)
    made = []
    for at, plan in enumerate(resolved):
        speeds = _extended(cut, [run[at] for run in runs])
        stored = skeleton(bare) if plan is None else rebuild(skeleton(bare), plan)
        per_token = bytes_per_token(stored, 4)
        share = per_token * speeds.write / limits.bandwidth
        made.append(
            Prediction(plan=plan, size=int(size(stored).value), bytes_per_token=per_token, share=share, predicted=speeds)
        )
    return made


def check(model: nn.Module, made: Sequence[Prediction], timing: Timing) -> list[Prediction]:
    """What is measured of the model itself, which is quantized by each plan, beside what was predicted."""
    plans = [each.plan for each in made if each.plan is not None]
    dtype = dtype_of(model)
    [measured] = measure([model.float()], plans, dtype, timing)
    return [replace(each, measured=speeds) for each, speeds in zip(made, measured, strict=True)]


def measure(models: Sequence[nn.Module], plans: Sequence[Plan], dtype: torch.dtype, timing: Timing) -> list[list[Speeds]]:
    """Speeds of models of one kind in float32, each as it is and under each plan, all in turn. `dtype`: as they are stored.

    Each format's quickest method makes the codes: they take the same time.
    """
    quick = [plain_plan(plan) for plan in plans]
    runs = time_models([side for model in models for side in (model, *(quantize(twin(model), plan) for plan in quick))], timing)
    stored = [model.to(dtype) for model in models]
    loads = [load_times(stored, plan) for plan in quick]
    found = []
    for at in range(len(models)):
        mine = runs[at * (len(quick) + 1) :][: len(quick) + 1]
        seconds = [None, *(each[at] for each in loads)]
        found.append(
            [
                Speeds(read=best(run.prefill_speed), write=best(run.decode_speed), load=load)
                for run, load in zip(mine, seconds, strict=True)
            ]
        )
    return found


def best(speed: Measure) -> float:
    """The speed of the fastest run: what other programs do meanwhile only ever slows, so it is what repeats."""
    return speed.parts["max"]


def load_times(models: Sequence[nn.Module], plan: Plan) -> list[float]:
    """Seconds to load each model, quantized, and to rearrange its weights: the least of some runs, from files just written."""
    with TemporaryDirectory() as folder:
        saved = [fewbits.save(quantize(twin(model), plan), Path(folder) / str(at)) for at, model in enumerate(models)]
        rounds = [[_load_time(path) for path in saved] for _ in range(_LOADS)]
    return [min(times) for times in zip(*rounds, strict=True)]


def _load_time(path: Path) -> float:
    start = time.perf_counter()
    loaded = fewbits.load(path)
    if cpu.running():
        cpu.prepare(loaded)
    return time.perf_counter() - start


def time_models(models: list[nn.Module], timing: Timing) -> list[Generation]:
    """Times of several models of one kind, in turn, as `fewbits.generate` writes; each reads the same random prompt."""
    vocabulary, most = config_value(models[0], "vocab_size") or 2, config_value(models[0], "max_position_embeddings")
    length = PROMPT if most is None else min(PROMPT, most - NEW)
    prompt = torch.randint(vocabulary, (1, length), generator=torch.Generator().manual_seed(0))
    decoders = {id(model): decoder_for(model, 1, length + NEW, Sampling()) for model in models}

    def write(model: nn.Module, ids: Tensor, new_tokens: int) -> Run:
        pieces = decoders[id(model)].tokens(ids, None, new_tokens)
        first, prefill = seconds(lambda: next(pieces))
        rest, decode = seconds(lambda: list(pieces))
        return Run(tokens=torch.cat([first, *rest], dim=1), prefill=prefill, decode=decode)

    return generations(models, [prompt] * len(models), new_tokens=NEW, timing=timing, write=write)


def _extended(cut: Cut, runs: Sequence[Speeds]) -> Speeds:
    """Speeds of the whole model from those of its samples, by seconds."""
    loads = [run.load for run in runs if run.load is not None]
    return Speeds(
        read=1 / cut.extend([1 / run.read for run in runs]),
        write=1 / cut.extend([1 / run.write for run in runs]),
        load=cut.extend(loads) if loads else None,
    )


def bytes_per_token(model: nn.Module, float_bytes: int) -> int:
    """Bytes of all weights that a step reads: not of embeddings, of which it reads a row, unless the head shares them."""
    modules = dict(model.named_modules(remove_duplicate=False))
    total = 0
    for t in stored_tensors(model):
        owner = modules.get(t.name.rpartition(".")[0])
        if isinstance(owner, nn.Embedding | QuantizedEmbedding) and not _shared(model, owner):
            continue
        total += t.nbytes if t.role != "kept" else t.numel * float_bytes
    return total


def _shared(model: nn.Module, table: nn.Module) -> bool:
    """Whether the output head reads these embeddings too."""
    head = getattr(model, "get_output_embeddings", lambda: None)()
    if head is None:
        return False
    return getattr(head, "owner", None) is table or getattr(head, "weight", 0) is getattr(table, "weight", 1)
