"""What `fewbits study` prints: progress on standard error, the rows in a table, where the report is."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fewbits.cli.show import COLUMNS
from fewbits.cli.tables import console, inert, percent, table
from fewbits.errors import FewbitsError, printable
from fewbits.study.items import Kind, label_of, matches
from fewbits.study.results import Reported, RowResult, Sensitivity, StudyResults, Weights, other_schemes

if TYPE_CHECKING:
    from fewbits.study.run import Todo


def tell(line: str) -> None:
    """A line of progress."""
    console(stderr=True).print(f"[dim]{inert(line)}[/dim]", soft_wrap=True)


def todo(found: Sequence["Todo"]) -> None:
    """What a study would do."""
    body = [
        [t.item.model, t.item.label, t.item.key, "cannot" if t.item.problem else "done" if t.done else "to do"] for t in found
    ]
    console().print(table("", ["item", "model", "key", ""], body))
    for problem in dict.fromkeys(f"{t.item.label}: {t.item.problem}" for t in found if t.item.problem):
        console().print(f"[yellow]{inert(problem)}[/yellow]", soft_wrap=True)


def studied(found: StudyResults, folder: Path, problem: str | None = None) -> None:
    """The rows of a study, a line each, what failed, and where the report is; `problem` says why there is none."""
    columns = [c for c in COLUMNS if any(c[0] in row.measures for row in found.rows)]
    many = len({row.model for row in found.rows}) > 1
    heads = [*(["model"] if many else []), "row", "quantized", *(head for _, head, _ in columns)]
    heads += [score.name for score in found.scores]
    body = []
    for row in found.rows:
        if row.error is None:
            cells = [cell(row.measures[name]) if name in row.measures else "-" for name, _, cell in columns]
            scores = [_score(row.scores.get(score.name)) for score in found.scores]
            body.append([*([row.model] if many else []), row.label, percent(row.coverage), *cells, *scores])
    out = console()
    out.print(table(found.title, heads, body))
    _others(found)
    for row in found.rows:
        if row.error is not None:
            out.print(f"[yellow]{inert(_name(row, many))}: {inert(row.error)}[/yellow]", soft_wrap=True)
    for each in (*found.sensitivities, *found.weights):
        if each.error is not None:
            out.print(f"[yellow]{inert(each.model)}: layers in {each.scheme}: {inert(each.error)}[/yellow]", soft_wrap=True)
        if told := other_schemes(each.scheme, each.layers):
            out.print(f"[dim]{inert(f'{each.model}: {told}')}[/dim]", soft_wrap=True)
    where = folder / ("results.json" if problem else "report.html")
    if problem:
        out.print(f"[yellow]{inert(problem)}[/yellow]", soft_wrap=True)
    out.print(f"[dim]{f'{found.missing} not done yet; ' if found.missing else ''}see {inert(where)}[/dim]", soft_wrap=True)


def _others(found: StudyResults) -> None:
    """What others reported, in a table of its own: beside ours it would leave no room for the figures."""
    told = {row.label: ", ".join(_reported(figure) for figure in row.reported) for row in found.rows if row.reported}
    if told:
        console().print(table(f"Reported: {found.reported}", ["row", "figures"], [[k, v] for k, v in told.items()]))


def failed(found: StudyResults, only: str | None) -> list[str]:
    """What was asked for and failed, a line each. Rows that want an optional library are skipped, which is no failure.

    Raises:
        FewbitsError: No row at all could be measured.
    """
    if found.rows and all(row.error is not None for row in found.rows):
        raise FewbitsError(f"no row could be measured; the first: {found.rows[0].label}: {found.rows[0].error}")
    lines = [
        f"{row.label}: {row.error}"
        for row in found.rows
        if row.error and not row.skipped and matches(only, row.model, row.label)
    ]
    kinds: tuple[tuple[Kind, Sequence[Sensitivity | Weights]], ...] = (
        ("alone", found.sensitivities),
        ("weights", found.weights),
    )
    for kind, ones in kinds:
        for one in ones:
            if one.error and matches(only, one.model, label := label_of(kind, one.scheme)):
                lines.append(f"{label}: {one.error}")
    return lines


def failures(lines: Sequence[str]) -> None:
    """How many failed, on standard error."""
    what = "1 row failed" if len(lines) == 1 else f"{len(lines)} rows failed"
    console(stderr=True).print(inert(f"{what}; the others are kept: {printable(lines[0], 300)}"), soft_wrap=True)


def _name(row: RowResult, many: bool) -> str:
    return f"{row.model} {row.label}" if many else row.label


def _score(value: int | float | bool | None) -> str:
    if value is None:
        return "-"
    return ("yes" if value else "no") if isinstance(value, bool) else f"{value:.3f}"


def _reported(figure: Reported) -> str:
    where = f" @ {figure.where}" if figure.where else ""
    return f"{figure.measure} {figure.value:,g} {figure.unit}".rstrip() + where
