"""A study from its file to its results: what is done is taken, what is not is done, and every item counts once it is written."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fewbits
from fewbits import machine
from fewbits.measure.result import Measure
from fewbits.study import plain, saved
from fewbits.study.executors import Run, in_process
from fewbits.study.items import Agenda, Item, agenda
from fewbits.study.results import RowResult, Sensitivity, StudyResults, Weights
from fewbits.study.score import Expression
from fewbits.study.spec import Spec
from fewbits.study.store import ItemStore
from fewbits.study.work import TIMED, Outcome, close

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Todo:
    """An item, and whether it is done."""

    item: Item
    done: bool


def look(spec: Spec, folder: Path, only: str | None = None) -> list[Todo]:
    """What there is to do; nothing is changed."""
    store = ItemStore(folder)
    return [Todo(item=item, done=_stored(store, item) is not None) for item in agenda(spec).matching(only)]


def run(
    spec: Spec,
    folder: Path,
    *,
    only: str | None = None,
    force: bool = False,
    execute: Run = in_process,
    workers: int = 1,
    command: str = "",
    tell: Tell = lambda _: None,
) -> StudyResults:
    """Do what is not done, and keep the results in a folder. `command` is what the report names to repeat it.

    `only` is a pattern of rows; the others are told as far as they are done. `force` does the rows again that are done
    already. Failed rows are told in their place, and tried again the next time. Raises FewbitsError for models and data that
    are not there, and a folder that holds something else.
    """
    store = ItemStore(folder)
    store.prepare()
    plan = agenda(spec)
    chosen = plan.matching(only)
    if force:
        for item in chosen:
            store.forget(item.key)
    pending = list({i.key: i for i in chosen if _stored(store, i) is None}.values())
    failures: dict[str, str] = {}
    progress = _Progress(
        total=len(pending),
        ready=sum(_stored(store, i) is not None for i in chosen),
        workers=workers,
        tell=tell,
        timed=bool(TIMED.intersection(spec.settings.measures)),
    )
    progress.begin()
    try:
        for item, outcome in execute(pending, store.parts):
            _keep(store, outcome, failures)
            progress.step(item, outcome)
            saved.save(assemble(spec, plan, store, failures, command), folder)
    finally:
        close()
    progress.end()
    found = assemble(spec, plan, store, failures, command)
    saved.save(found, folder)
    return found


def _stored(store: ItemStore, item: Item) -> dict[str, Any] | None:
    """What was made of an item; None if nothing was, or it cannot be read: then it is done again."""
    made = store.get(item.key)
    read = {"row": plain.row_from_dict, "alone": plain.sensitivity_from_dict, "weights": plain.weights_from_dict}[item.kind]
    try:
        if made is not None:
            read(made)
    except (TypeError, KeyError, ValueError, AttributeError):
        return None
    return made


def _keep(store: ItemStore, outcome: Outcome, failures: dict[str, str]) -> None:
    if outcome.made is not None:
        store.put(outcome.key, outcome.made)
        return
    failures[outcome.key] = outcome.error or "failed"
    if outcome.trace:
        path = store.put_failure(outcome.key, outcome.trace)
        failures[outcome.key] += f" (more in {path})"


def assemble(spec: Spec, plan: Agenda, store: ItemStore, failures: dict[str, str], command: str = "") -> StudyResults:
    """The results as far as there are any, in the order of the file."""
    rows: list[RowResult] = []
    alone: list[Sensitivity] = []
    weights: list[Weights] = []
    missing = 0
    for item in plan.items:
        made, error = _stored(store, item), failures.get(item.key) or item.problem
        if made is None and error is None:
            missing += 1
        elif item.kind == "row":
            rows.append(_row(item, made, error))
        elif item.kind == "alone":
            known = plain.sensitivity_from_dict(made) if made else None
            alone.append(known or Sensitivity(key=item.key, model=item.model, scheme=item.scheme, error=error))
        else:
            lie = plain.weights_from_dict(made) if made else None
            weights.append(lie or Weights(key=item.key, model=item.model, scheme=item.scheme, error=error))
    return StudyResults(
        title=spec.title,
        about=spec.about,
        file=spec.file,
        text=spec.text,
        command=command,
        columns=_columns(spec, rows),
        scores=spec.scores,
        data=tuple(plan.data),
        reported=spec.reported,
        machine=machine.describe(),
        fewbits=fewbits.__version__,
        rows=tuple(_scored(rows, spec)),
        sensitivities=tuple(alone),
        weights=tuple(weights),
        missing=missing,
    )


def _row(item: Item, made: dict[str, Any] | None, error: str | None) -> RowResult:
    row = item.row
    if row is None:
        raise TypeError("an item that is no row")
    failed = RowResult(key=item.key, model=item.model, label=item.label, error=error, skipped=item.skipped)
    found = plain.row_from_dict(made) if made else failed
    return replace(
        found,
        model=item.model,
        label=row.label,
        plan=found.plan or item.plan,
        scheme=row.rules[0][1] if len(row.rules) == 1 and row.blocks is None else "",
        original=row.original,
        peer=found.peer or row.peer,
        series=row.series,
        bits=row.bits,
        group=row.group,
        reported=row.reported,
    )


def _columns(spec: Spec, rows: Sequence[RowResult]) -> tuple[str, ...]:
    """The measures of the file in its order, else those that there are."""
    taken = dict.fromkeys(name for row in rows for name in row.measures)
    return tuple(name for name in spec.settings.measures or taken if name in taken)


def _scored(rows: Sequence[RowResult], spec: Spec) -> list[RowResult]:
    """Each row with its scores, against its model's original: speeds against those timed in turn with the row."""
    expressions = {score.name: Expression(score.expression) for score in spec.scores}
    originals = {row.model: row.measures for row in rows if row.original}
    return [replace(row, scores=_scores(row, originals.get(row.model, {}), expressions)) for row in rows]


def _known(row: RowResult) -> dict[str, Measure]:
    """The row's measures; an original differs from itself in nothing."""
    found = dict(row.measures)
    if row.original and row.measures:
        found.setdefault("kl", Measure(name="kl", value=0.0, unit="nats"))
        found.setdefault("top1", Measure(name="top1", value=1.0, unit=""))
    return found


def _scores(row: RowResult, original: Any, expressions: dict[str, Expression]) -> dict[str, int | float | bool | None]:
    beside: dict[str, Measure] = {name: m for name, m in original.items() if name not in TIMED or row.original}
    beside |= row.beside
    known = _known(row)
    return {
        name: expression.of(lambda quantity: quantity.of(known, beside, row.coverage))
        for name, expression in expressions.items()
    }


@dataclass(kw_only=True)
class _Progress:
    """A line for each item that is done, with about how long the others will take."""

    total: int
    ready: int
    workers: int
    tell: Tell
    timed: bool = False
    done: int = 0
    began: float = 0.0

    def begin(self) -> None:
        self.began = time.monotonic()
        kept = f", {self.ready} are done already" if self.ready else ""
        self.tell(f"{self.total} to do{kept}" if self.total else f"all {self.ready} are done already")
        if self.workers > 1 and self.total and self.timed:
            self.tell(
                "timings are taken beside those of other workers: for speeds that are to be believed, leave out --workers"
            )

    def step(self, item: Item, outcome: Outcome) -> None:
        self.done += 1
        left = (time.monotonic() - self.began) / self.done * (self.total - self.done)
        what = f"failed: {outcome.error}" if outcome.error else "done"
        rest = f"; about {_duration(left)} left" if self.done < self.total else ""
        self.tell(f"{self.done}/{self.total} {item.model} {item.label}: {what} in {outcome.seconds:.1f} s{rest}")

    def end(self) -> None:
        if self.done:
            self.tell(f"{self.done} items in {_duration(time.monotonic() - self.began)}")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
