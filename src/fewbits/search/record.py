"""What tuning came to, as plain data for JSON and CSV."""

from collections.abc import Sequence
from typing import Any

from fewbits import planfile
from fewbits.csvtext import csv_text
from fewbits.search.evidence import Evidence
from fewbits.search.explain import LayerFacts
from fewbits.search.outcome import Tried, Tuned
from fewbits.search.sensitivity import Sensitivities
from fewbits.search.space import Space
from fewbits.search.verdict import Verdict


def tuned_record(tuned: Tuned, facts: Sequence[LayerFacts] = ()) -> dict[str, Any]:
    """Everything: the plan, verdicts, plans that were looked at, the frontier, sensitivities, times, hashes."""
    return {
        "limits": [_verdict(v) for v in tuned.verdicts],
        "target": tuned.goal.target,
        "plan": planfile.to_dict(tuned.plan),
        "uniform": tuned.uniform,
        "chosen": _tried(tuned.chosen, tuned.space),
        "best_uniform": None if tuned.best_uniform is None else _tried(tuned.best_uniform, tuned.space),
        "original": _evidence(tuned.original),
        "speeds": {name: measure.to_dict() for name, measure in tuned.speeds.items()},
        "tried": [_tried(t, tuned.space) for t in tuned.tried],
        "sensitivities": sensitivity_record(tuned.sensitivities, facts),
        "seconds": tuned.seconds,
        "digests": tuned.digests,
    }


def sensitivity_record(found: Sensitivities, facts: Sequence[LayerFacts] = ()) -> dict[str, Any]:
    """Losses by layer and scheme, and the frontier that follows."""
    layers = []
    why = {fact.name: fact for fact in facts}
    for u, unit in enumerate(found.space.units):
        options = []
        for c, option in enumerate(unit.options[:-1]):
            losses = {"cheap": found.cheap[u][c], "diagonal": found.diagonal[u][c]}
            if found.measured is not None:
                losses["measured"] = found.measured[u][c]
            options.append({"scheme": str(option), "bytes": option.nbytes, **losses})
        layer: dict[str, Any] = {"name": unit.name, "params": unit.params, "options": options}
        if facts:
            layer["why"] = "; ".join(filter(None, (why[name].why for name in unit.layers)))
            layer["kurtosis"] = max(why[name].kurtosis for name in unit.layers)
        layers.append(layer)
    points = found.frontier().points
    return {
        "layers": layers,
        "frontier": [{"bytes": int(p.cost), "loss": p.loss, "bits": found.space.bits(p.choice)} for p in points],
    }


def sensitivity_csv(found: Sensitivities) -> str:
    """A line for each layer and scheme."""
    rows: list[list[object]] = [["layer", "scheme", "bytes", "params", "cheap", "diagonal", "measured"]]
    for u, unit in enumerate(found.space.units):
        for c, option in enumerate(unit.options[:-1]):
            measured = "" if found.measured is None else found.measured[u][c]
            cheap, diagonal = found.cheap[u][c], found.diagonal[u][c]
            rows.append([unit.name, str(option), option.nbytes, unit.params, cheap, diagonal, measured])
    return csv_text(rows)


def tuned_csv(tuned: Tuned) -> str:
    """A line for each plan that was looked at: bytes, predicted and measured loss, and what it measured if verified."""
    names = ["ppl" if name == "nll" else name for name in tuned.original.sums]
    heads = ["kind", "plan", "bytes", "bits", "predicted", "measured", "se", *(f"verified {name}" for name in names)]
    rows: list[list[object]] = [[*heads]]
    for t in tuned.tried:
        values = ["" if t.evidence is None else t.evidence.value(name) for name in names]
        rows.append([t.kind, t.name, t.nbytes, tuned.space.bits(t.choice), t.predicted, t.measured, t.se, *values])
    return csv_text(rows)


def _tried(tried: Tried, space: Space) -> dict[str, Any]:
    data = {"name": tried.name, "kind": tried.kind, "bytes": tried.nbytes, "bits": space.bits(tried.choice)}
    data |= {"predicted": tried.predicted, "measured": tried.measured, "se": tried.se}
    return data | ({} if tried.evidence is None else {"verified": _evidence(tried.evidence)})


def _evidence(evidence: Evidence) -> dict[str, Any]:
    names = ["ppl" if name == "nll" else name for name in evidence.sums]
    return {name: {"value": evidence.value(name), "se": evidence.se(name), "n": sum(evidence.counts)} for name in names}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "limit": str(verdict.limit),
        "value": verdict.value,
        "worst": verdict.worst,
        "bound": verdict.bound,
        "holds": verdict.holds,
    }
