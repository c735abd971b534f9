"""The pages."""

from collections.abc import Sequence
from pathlib import Path

from fewbits.report.cells import MIB, number, short
from fewbits.report.page import Cell, Code, Column, Facts, Figure, Line, Page, Section, Table, Tile
from fewbits.report.search.agreement import layers_chart, plans_chart
from fewbits.report.search.frontier import frontier_chart
from fewbits.report.search.layers import why_table
from fewbits.report.search.map import scheme_map
from fewbits.search.explain import LayerFacts
from fewbits.search.outcome import Tried, Tuned
from fewbits.search.sensitivity import Sensitivities
from fewbits.search.verdict import shown

DIGITS = {"kl": 5, "ppl": 3, "accuracy": 4, "top1": 4, "loss": 5}


def tuned_page(model: str, tuned: Tuned, facts: Sequence[LayerFacts], notes: Sequence[tuple[str, str]], command: str) -> Page:
    """The page of one tuning. `notes` are names and what they are, such as the machine; `command` made it."""
    chosen, kept = tuned.chosen, tuned.space.nbytes(tuned.space.kept())
    won = (
        f"No mixed plan beat the uniform plan `{tuned.uniform}` at its bytes, so that is the plan given."
        if tuned.uniform
        else ""
    )
    sections = [
        Section(title="Limits", parts=(_limits(tuned), *((won,) if won else ()))),
        Section(title="Against the best uniform plan", parts=(_measured(tuned),)),
        Section(title="Frontier", parts=(frontier_chart(tuned), plans_chart(tuned))),
        Section(title="The plan", parts=(_schemes(tuned), scheme_map(tuned.space, tuned.table, chosen.choice))),
        Section(
            title="Why the expensive layers are expensive",
            parts=(why_table(tuned.space, tuned.sensitivities.loss, facts, chosen.choice),),
        ),
        Section(title="How it was made", parts=(Code(text=command), Facts(facts=(*notes, *_hashes(tuned))))),
    ]
    return Page(
        title=f"{_name(model)}, tuned",
        lede=f"Limits: {', '.join(map(str, tuned.goal.limits))}; best {tuned.goal.target}.",
        tiles=(
            Tile(label="size", value=f"{chosen.nbytes / MIB:.2f} MiB", note=f"{kept / chosen.nbytes:.2f} times smaller"),
            Tile(
                label="bits a weight",
                value=f"{tuned.space.bits(chosen.choice):.2f}",
                note="of the searched layers, with scales",
            ),
            *(_tile(chosen, tuned, name) for name in ("kl", "ppl", "accuracy", "loss") if _has(tuned, name)),
        ),
        sections=sections,
    )


def sensitivity_page(
    model: str, found: Sensitivities, facts: Sequence[LayerFacts], notes: Sequence[tuple[str, str]], command: str
) -> Page:
    """The page of the sensitivities."""
    agreement = layers_chart(found)
    parts: list[str | Figure] = [scheme_map(found.space, found.loss)]
    if agreement is not None:
        parts.append(agreement)
    return Page(
        title=f"{_name(model)}: sensitivity",
        lede=f"What each of {len(found.space.units)} layers loses in each of {len(found.space.candidates)} schemes, alone.",
        sections=(
            Section(title="Losses", parts=parts),
            Section(title="Why the expensive layers are expensive", parts=(why_table(found.space, found.loss, facts),)),
            Section(title="How it was made", parts=(Code(text=command), Facts(facts=tuple(notes)))),
        ),
    )


def _name(model: str) -> str:
    """A folder by its last part; any other model as it is named."""
    return Path(model).name if Path(model).is_dir() else model


def _has(tuned: Tuned, name: str) -> bool:
    return ("nll" if name == "ppl" else name) in tuned.original.sums


def _tile(chosen: Tried, tuned: Tuned, name: str) -> Tile:
    evidence = chosen.evidence
    if evidence is None:
        raise ValueError("the chosen plan is verified")
    note = "" if name == "kl" else f"{tuned.original.value(name):.{DIGITS[name] - 1}f} as it is"
    return Tile(label=name, value=short(evidence.value(name)), note=note or f"± {short(evidence.se(name))} nats")


def _limits(tuned: Tuned) -> Table:
    rows = [
        Line(
            cells=(
                str(v.limit),
                Cell(text=shown(v.limit.measure, v.value)),
                Cell(text=shown(v.limit.measure, v.worst)),
                Cell(text=shown(v.limit.measure, v.bound)),
                "holds" if v.holds else "broken",
            )
        )
        for v in tuned.verdicts
    ]
    columns = (
        Column(head="limit"),
        Column(head="measured"),
        Column(head="worse end"),
        Column(head="bound"),
        Column(head="", text=True),
    )
    note = "Quality is measured on data that nothing was chosen by; the worse end is that of a one-sided 95 % interval."
    return Table(columns=columns, rows=rows, note=note)


def _measured(tuned: Tuned) -> Table:
    names = [n for n in ("kl", "ppl", "accuracy", "top1", "loss") if _has(tuned, n)]
    ones: list[tuple[str, Tried | None]] = [("as it is", None), ("this plan", tuned.chosen)]
    if tuned.best_uniform is not None and tuned.uniform is None:
        ones.append((f"best uniform: {tuned.best_uniform.name}", tuned.best_uniform))
    rows = []
    for label, one in ones:
        evidence = tuned.original if one is None else one.evidence
        size = tuned.space.nbytes(tuned.space.kept() if one is None else one.choice)
        cells = [number(evidence.value(n), DIGITS[n], se=evidence.se(n)) for n in names] if evidence else []
        kind = "original" if one is None else ""
        rows.append(Line(cells=(label, Cell(text=f"{size / MIB:.3f}", value=size), *cells), kind=kind))
    best = {"kl": "low", "ppl": "low", "loss": "low", "accuracy": "high", "top1": "high"}
    columns = (Column(head="plan"), Column(head="size", unit="MiB"), *(Column(head=n, best=best[n]) for n in names))  # type: ignore[arg-type]
    note = "Measured on data that nothing was chosen by, with standard errors."
    return Table(columns=columns, rows=rows, note=note)


def _schemes(tuned: Tuned) -> Table:
    rows = [
        Line(cells=(scheme, Cell(text=f"{layers}"), Cell(text=f"{weights:,}")))
        for scheme, layers, weights in tuned.space.counts(tuned.chosen.choice)
    ]
    return Table(columns=(Column(head="scheme"), Column(head="layers"), Column(head="weights")), rows=rows)


def _hashes(tuned: Tuned) -> tuple[tuple[str, str], ...]:
    times = ", ".join(f"{name} {value:.1f} s" for name, value in tuned.seconds.items() if name != "measured anew")
    return (*tuned.digests.items(), ("time", f"{times}; {tuned.seconds['measured anew']:.0f} figures measured anew"))
