"""What `sensitivity` and `tune` print."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import fewbits
from fewbits import machine
from fewbits.cli.show_predicted import document
from fewbits.cli.tables import console, inert, mib, table
from fewbits.evaluate.row import Row
from fewbits.search.agreement import rank_correlation
from fewbits.search.outcome import Tried, Tuned
from fewbits.search.record import sensitivity_record, tuned_record
from fewbits.search.sensitivity import Sensitivities
from fewbits.search.verdict import shown

MOST = 12  # layers that are printed


def sensitivity(model: str, found: Sensitivities, unit: str) -> None:
    """The layers that lose most, by scheme."""
    out, space, losses = console(), found.space, found.loss
    order = sorted(range(len(space.units)), key=lambda u: -max(losses[u]))[:MOST]
    heads = ["layer", "weights", *space.candidates]
    body = []
    for u in order:
        row = space.units[u]
        cells = []
        for candidate in space.candidates:
            at = row.option_of(candidate)
            changed = str(row.options[at]) != candidate
            cells.append("-" if at == len(row.options) - 1 else f"{losses[u][at]:.2e}{'*' if changed else ''}")
        body.append([row.name, f"{row.params:,}", *cells])
    how = "measured, one layer at a time" if found.measured is not None else "from gradients"
    out.print(table(f"{model}: what each layer loses alone, {unit}, {how}", heads, body))
    if any(cell.endswith("*") for line in body for cell in line):
        out.print("[dim]* with one scale per channel: the groups of the scheme do not divide the layer[/dim]")
    if len(space.units) > MOST:
        out.print(f"[dim]{MOST} of {len(space.units)} layers, those that lose most; all of them with -o or --json[/dim]")
    if found.measured is not None:
        pairs = [(u, c) for u, unit in enumerate(space.units) for c in range(len(unit.options) - 1)]
        truth = [found.measured[u][c] for u, c in pairs]
        tables = {"along the error": found.cheap, "diagonal": found.diagonal, "both": found.estimate}
        told = [f"{rank_correlation([t[u][c] for u, c in pairs], truth):.3f} {name}" for name, t in tables.items()]
        out.print(f"rank correlation of the cheap sensitivities with the measured ones: {', '.join(told)}")
    out.print(f"frontier: {len(found.frontier().points):,} plans")


def tuned(model: str, result: Tuned, sources: Sequence[str]) -> None:
    """The plan, its limits, and what it measures beside the best uniform plan."""
    out, space = console(), result.space
    body = [[s, f"{layers}", f"{weights:,}"] for s, layers, weights in space.counts(result.chosen.choice)]
    out.print(table(f"{model}: {space.bits(result.chosen.choice):.3f} bits a weight", ["scheme", "layers", "weights"], body))
    body = []
    for v in result.verdicts:
        cells = (shown(v.limit.measure, x) for x in (v.value, v.worst, v.bound))
        body.append([str(v.limit), *cells, "holds" if v.holds else "broken"])
    out.print(table("", ["limit", "measured", "worse end", "bound", ""], body))
    names = ["ppl" if name == "nll" else name for name in result.original.sums]
    ones: list[tuple[str, Tried | None]] = [("as it is", None), ("this plan", result.chosen)]
    if result.best_uniform is not None and result.uniform is None:
        ones.append((f"best uniform: {result.best_uniform.name}", result.best_uniform))
    body = []
    for label, one in ones:
        evidence = result.original if one is None else one.evidence
        nbytes = space.nbytes(space.kept() if one is None else one.choice)
        figures = [f"{evidence.value(n):.5g} ± {evidence.se(n):.2g}" for n in names] if evidence else []
        body.append([label, mib(nbytes), *figures])
    out.print(table("", ["plan", "size MiB", *names], body))
    if result.uniform:
        out.print(f"[yellow]no mixed plan beat the uniform plan {result.uniform} at its bytes: that is the plan given[/yellow]")
    chosen = result.chosen
    out.print(
        f"predicted loss {chosen.predicted:.5g}, measured {chosen.measured:.5g} ± {chosen.se:.2g} on what it was chosen by"
    )
    for name, measure in result.speeds.items():
        clock = result.costs.clocks[name]
        told = result.costs.of_seconds(name, clock.seconds(chosen.choice))
        out.print(f"{name}: predicted {shown(name, told)}, measured {shown(name, float(measure.value))} ({measure.protocol})")
    out.print(f"[dim]{inert('; '.join(sources))}; {_times(result.seconds)}[/dim]")


def saved(folder: Path) -> None:
    """Where it is."""
    page, following = inert(folder / "report.html"), inert(f"fewbits eval {shlex.quote(str(folder))}")
    console().print(f"saved in {inert(folder)}, the report in {page}\n[dim]next: {following}[/dim]", soft_wrap=True)


def written(folder: Path) -> None:
    """Where the page is."""
    console().print(inert(f"page, JSON and CSV in {folder}: {folder / 'report.html'}"), soft_wrap=True)


def tuned_document(model: str, result: Tuned, row: Row | None) -> None:
    """The JSON document, on one line."""
    evidence = result.chosen.evidence
    if evidence is None:
        raise ValueError("the chosen plan is verified")
    measures = {m.name: m.to_dict() for m in evidence.measures(result.protocol, result.digests["verified on"])}
    size = {"value": result.chosen.nbytes, "unit": "B"}
    data = {"model": model, "plan": str(result.plan), "measures": {"size": size, **measures}} if row is None else row.to_dict()
    document([{**data, "tune": tuned_record(result)}])


def sensitivity_document(model: str, found: Sensitivities) -> None:
    """The JSON document, on one line."""
    document([{"model": model, "sensitivity": sensitivity_record(found)}])


def notes(sources: Sequence[str], protocol: str) -> list[tuple[str, str]]:
    """Data and machine, for the foot of a page."""
    facts = machine.describe()
    where = f"{facts['cpu']}, {facts['torch_threads']} threads, torch {facts['torch']}"
    return [("fewbits", fewbits.__version__), ("data", "; ".join(sources)), ("protocol", protocol), ("machine", where)]


def _times(seconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items() if name != "measured anew")
