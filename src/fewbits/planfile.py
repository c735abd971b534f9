"""Plans as YAML: the rules that a person writes, and the decisions that a run recorded.

version: 1
rules:
  - {match: "*attn*", scheme: "rtn:int8"}
  - {match: "*", scheme: keep}
"""

from pathlib import Path
from typing import Any

import yaml

from fewbits import strictyaml
from fewbits.document import Value
from fewbits.errors import FewbitsError, shown
from fewbits.plan import VERSION, Decision, Plan, Rule, misfit_named
from fewbits.scheme import KEEP, parse_target

_MOST = 2**62  # parameters of a model
_KEYS = {"version", "rules", "on_misfit", "coverage", "decisions", "total_params"}


def to_yaml(plan: Plan) -> str:
    """The plan, with every decision where it has met a model."""
    return yaml.safe_dump(to_dict(plan), sort_keys=False, width=120)  # allow_unicode would lose U+0085 in a name


def to_dict(plan: Plan) -> dict[str, Any]:
    """Plain data, for YAML and JSON."""
    data: dict[str, Any] = {
        "version": VERSION,
        "rules": [{"match": r.match, "scheme": str(r.scheme or KEEP)} for r in plan.rules],
        "on_misfit": plan.on_misfit,
    }
    if plan.decisions:
        data["coverage"] = round(plan.coverage, 6)
        data["total_params"] = plan.total_params
        data["decisions"] = [_decision_to_dict(d) for d in plan.decisions]
    return data


def read(path: str | Path) -> Plan:
    """Read a recipe or a saved `plan.yaml`. Raises FewbitsError that names the file, the line and what is wrong there."""
    try:
        top = strictyaml.parse(strictyaml.text_of(Path(path)), "")
    except FewbitsError as error:
        raise FewbitsError(f"{path}: cannot be read as YAML: {error}") from None
    try:
        return _from_document(top)
    except FewbitsError as error:
        raise FewbitsError(f"{path}: {error}") from None


def _from_document(top: Value) -> Plan:
    """As `from_dict`, with the line of what is wrong."""
    given = top.mapping() if isinstance(top.data, dict) else {}
    for key, value in given.items():
        if key not in _KEYS:
            top.at_key(key).fail(f"unknown key in a plan: {', '.join(sorted(_KEYS))}")
        if key in ("version", "total_params"):
            value.whole(least=0, most=_MOST)
    data = top.plain()
    for at, each in enumerate(_listed(given, "rules")):
        if isinstance(each.data, dict):  # a pattern or scheme as it is written: 010 stays 010
            data["rules"][at] = {name: value.raw or value.plain() for name, value in each.data.items()}
        each.checked(lambda d=data["rules"][at]: _rule_from_dict(d))
    for at, each in enumerate(_listed(given, "decisions")):
        each.checked(lambda d=data["decisions"][at]: _decision_from_dict(d))
    return top.checked(lambda: from_dict(data))


def _listed(given: dict[str, Value], key: str) -> list[Value]:
    return given[key].data if key in given and isinstance(given[key].data, list) else []


def from_dict(data: Any) -> Plan:
    """Undo `to_dict`."""
    if not isinstance(data, dict) or not isinstance(data.get("rules"), list):
        raise FewbitsError("a plan is a mapping with a list of 'rules', each with 'match' and 'scheme'")
    if unknown := sorted(map(str, set(data) - _KEYS)):
        raise FewbitsError(f"unknown key {shown(unknown[0])} in the plan: {', '.join(sorted(_KEYS))}")
    if data.get("version", VERSION) != VERSION or isinstance(data.get("version"), bool):
        raise FewbitsError(f"the plan is of version {shown(data['version'])}, this fewbits reads version {VERSION}")
    decisions, total = data.get("decisions", []), data.get("total_params", 0)
    if not isinstance(decisions, list) or not _is_count(total):
        raise FewbitsError("in a plan, 'decisions' is a list and 'total_params' a whole number")
    return Plan(
        rules=tuple(_rule_from_dict(r) for r in data["rules"]),
        on_misfit=misfit_named(data.get("on_misfit", "error")),
        decisions=tuple(_decision_from_dict(d) for d in decisions),
        total_params=total,
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _rule_from_dict(data: Any) -> Rule:
    if not isinstance(data, dict) or set(data) != {"match", "scheme"}:
        raise FewbitsError(f"a rule has 'match' and 'scheme', not {shown(data)}")
    if not all(isinstance(value, str | int | float) and not isinstance(value, bool) for value in data.values()):
        raise FewbitsError(f"in a rule, 'match' and 'scheme' are texts, not {shown(data)}")
    return Rule(match=str(data["match"]), scheme=parse_target(str(data["scheme"]), stored=True))


def _decision_to_dict(decision: Decision) -> dict[str, Any]:
    data: dict[str, Any] = {"name": decision.name, "kind": decision.kind, "params": decision.params}
    data |= {"scheme": str(decision.scheme or KEEP), "why": decision.why}
    return data | ({"tied_to": decision.tied_to} if decision.tied_to else {})


def _decision_from_dict(data: Any) -> Decision:
    texts = ("name", "kind", "scheme", "why")
    if (
        not isinstance(data, dict)
        or not all(isinstance(data.get(key), str) for key in texts)
        or not _is_count(data.get("params"))
        or not isinstance(data.get("tied_to"), str | None)
    ):
        raise FewbitsError(f"this decision is incomplete: {shown(data, 200)}")
    name, kind, scheme, why = (data[key] for key in texts)
    tied_to = data.get("tied_to")
    return Decision(
        name=name, kind=kind, params=data["params"], scheme=parse_target(scheme, stored=True), why=why, tied_to=tied_to
    )
