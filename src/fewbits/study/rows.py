"""Rows of a study's file: a scheme, rules, a recipe, bits by block, or a peer; a grid makes a row for each combination.

- keep
- hqq:uint4g64
- {scheme: "hqq:uint{bits}g{group}", grid: {bits: [8, 4], group: [64, 32]}}
- {peer: bitsandbytes, kind: nf4}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fewbits import planfile
from fewbits.document import Value
from fewbits.formats import Format
from fewbits.plan import OnMisfit, Rule, misfit_named
from fewbits.scheme import KEEP, parse_target
from fewbits.study.blocks import SLOT, Blocks
from fewbits.study.grid import Point, combinations, filled, names_in
from fewbits.study.peerrows import peer_row
from fewbits.study.reported import with_reported
from fewbits.study.spec import ORIGINAL, RowSpec

_WHAT = ("scheme", "rules", "recipe", "peer")
_COMMON = ("name", "series", "grid", "reported", "skip", "on_misfit", "blocks")
KEYS = (*_WHAT, *_COMMON)
_ALLOWED = {  # keys beside the one that says what the row is; any other would be ignored
    "scheme": _COMMON,
    "rules": ("name", "series", "grid", "reported", "skip", "on_misfit"),
    "recipe": ("name", "series", "reported", "skip", "on_misfit"),
    "peer": ("name", "series", "grid", "reported"),
    KEEP: ("name", "reported"),
}
MOST_NAME = 200  # characters


def read_row(value: Value, misfit: OnMisfit) -> list[RowSpec]:
    """The row, or rows of a grid, that an entry of `rows` says."""
    where = f"{value.file}, line {value.line}"
    if not isinstance(value.data, dict):
        return [_plain(value, where, misfit)]
    given = value.mapping() if "peer" in value.data else value.mapping(KEYS)
    what = [key for key in _WHAT if key in given]
    if len(what) != 1:
        value.fail(f"a row has one of {', '.join(_WHAT)}{f', not both {what[0]} and {what[1]}' if what else ''}")
    _check_keys(value, given, what[0])
    points = combinations(given, reserved=("bits",) if "blocks" in given else ())
    if "on_misfit" in given:
        misfit = given["on_misfit"].checked(lambda: misfit_named(given["on_misfit"].text()))
    rows = [_row(value, given, what[0], at, where, misfit) for at in points]
    _check_used(given, what[0], points[0])
    return with_reported(rows, points, given)


def _plain(value: Value, where: str, misfit: OnMisfit) -> RowSpec:
    text = value.text()
    scheme = value.checked(lambda: parse_target(text))
    if scheme is None:
        return RowSpec(label=ORIGINAL, where=where)
    return RowSpec(label=str(scheme), where=where, rules=(("*", str(scheme)),), on_misfit=misfit, **_place(str(scheme)))


def _check_keys(value: Value, given: Mapping[str, Value], what: str) -> None:
    """Fail for a key that this kind of row would ignore."""
    kept = what == "scheme" and isinstance(given["scheme"].data, str) and given["scheme"].text() == KEEP
    allowed = _ALLOWED[KEEP if kept else what]
    for key in given:
        if key in _COMMON and key not in allowed:
            kind = "a row that keeps the model as it is" if kept else f"a row with '{what}'"
            value.at_key(key).fail(f"means nothing in {kind}, which takes {', '.join(allowed)}")
    if "blocks" in given and SLOT not in given["scheme"].text():
        scheme = given["scheme"].text()
        given["blocks"].fail(f"the scheme '{scheme}' has no {SLOT} for them to go into: write it as uint{SLOT}g64")


def _check_used(given: Mapping[str, Value], what: str, at: Point) -> None:
    """Fail for an axis of the grid that changes nothing: its rows would all be the same. A peer's axes are its options."""
    if what == "peer":
        return
    used = {name for each in _texts(given[what]) for name in names_in(each)}
    if unused := [name for name in at if name not in used]:
        given["grid"].at_key(unused[0]).fail(f"is in the grid but not in the {what}: write {{{unused[0]}}} where it goes")


def _texts(value: Value) -> list[str]:
    if isinstance(value.data, dict):
        return [each.raw for each in value.data.values()]
    return [each.raw for each in value.data] if isinstance(value.data, list) else [value.raw]


def _row(value: Value, given: Mapping[str, Value], what: str, at: Point, where: str, misfit: OnMisfit) -> RowSpec:
    name = _name(given["name"], at) if "name" in given else ""
    series = _name(given["series"], at) if "series" in given else ""
    skip = tuple((_pattern(each), KEEP) for each in given["skip"].items()) if "skip" in given else ()
    common: dict[str, Any] = {"where": where, "on_misfit": misfit}
    if what == "peer":
        return peer_row(given, at, name, series, {"where": where}, _COMMON)
    if what == "scheme":
        return _scheme(given, at, name, series, skip, common)
    if what == "recipe":
        return _recipe(value, given, name, series, skip, common)
    rules = _rules(given["rules"], at)
    _check_skip(given, skip, rules)
    label = name or " ".join(f"{m}={s}" for m, s in rules)
    common |= _uniform(rules)
    if series:
        common["series"] = series
    return RowSpec(label=label, rules=(*skip, *rules), **common)


def _check_skip(given: Mapping[str, Value], skip: tuple[Any, ...], rules: tuple[tuple[str, str], ...]) -> None:
    """Fail for a pattern that is skipped and has a rule: the rule would never be reached."""
    both = [match for match, _ in skip if match in dict(rules)]
    if both:
        given["skip"].fail(f"'{both[0]}' has a rule too: give one of them")


def _name(value: Value, at: Point) -> str:
    text = " ".join(filled(value, at).split())
    return text if len(text) <= MOST_NAME else value.fail(f"has {len(text):,} characters, more than {MOST_NAME}")


def _pattern(value: Value) -> str:
    return value.checked(lambda: Rule(match=value.text(), scheme=None)).match


def _recipe(
    value: Value, given: Mapping[str, Value], name: str, series: str, skip: tuple[Any, ...], common: dict[str, Any]
) -> RowSpec:
    path = Path(given["recipe"].text())
    beside = Path(value.file).parent / path
    plan = given["recipe"].checked(lambda: planfile.read(beside if beside.exists() else path))
    rules = tuple((rule.match, str(rule.scheme or KEEP)) for rule in plan.rules)
    if not rules:
        given["recipe"].fail(f"{path} has no rules")
    if "on_misfit" not in given:
        common["on_misfit"] = plan.on_misfit
    return RowSpec(label=name or path.stem, rules=(*skip, *rules), series=series, **common)


def _scheme(
    given: Mapping[str, Value], at: Point, name: str, series: str, skip: tuple[Any, ...], common: dict[str, Any]
) -> RowSpec:
    if "blocks" in given:
        blocks = _blocks(given, at)
        label = name or f"{blocks.scheme} with " + (",".join(map(str, blocks.each)) or str(dict(blocks.places)))
        return RowSpec(label=label, blocks=blocks, rules=skip, series=series, **common)
    text = filled(given["scheme"], at)
    scheme = given["scheme"].checked(lambda: parse_target(text))
    if scheme is None:
        return RowSpec(label=name or ORIGINAL, where=common["where"])
    place = common | _place(str(scheme))
    if series:
        place["series"] = series
    return RowSpec(label=name or str(scheme), rules=(*skip, ("*", str(scheme))), **place)


def _rules(value: Value, at: Point) -> tuple[tuple[str, str], ...]:
    """A mapping of patterns to schemes, or a list of `GLOB=SCHEME`; the first that matches wins."""
    if not isinstance(value.data, dict):
        found = [each.checked(lambda e=each: Rule.parse(filled(e, at))) for each in value.items()]
        pairs = [(rule.match, str(rule.scheme or KEEP), each) for rule, each in zip(found, value.items(), strict=True)]
    else:
        if not value.data:
            value.fail("is empty: give a scheme for each pattern")
        pairs = []
        for match, target in value.data.items():
            scheme = target.checked(lambda t=target: parse_target(filled(t, at)))
            target.checked(lambda m=match, s=scheme: Rule(match=m, scheme=s))
            pairs.append((match.strip(), str(scheme or KEEP), value.at_key(match)))
    _check_reached(pairs)
    return tuple((match, scheme) for match, scheme, _ in pairs)


def _check_reached(pairs: list[tuple[str, str, Value]]) -> None:
    """Fail for a rule that none of the layers can reach: its pattern came before, or `*` did."""
    seen: set[str] = set()
    for match, _, place in pairs:
        if match in seen or "re:.*" in seen:
            place.fail(f"the rule for '{match}' is never reached: the first rule that matches wins")
        seen.add(match)


def _blocks(given: Mapping[str, Value], at: Point) -> Blocks:
    value, slot = given["blocks"], Value(data=SLOT, raw=SLOT, line=0, key="", file="")
    scheme = filled(given["scheme"], {**at, "bits": slot})
    if isinstance(value.data, dict):
        if not value.data:
            value.fail("is empty: give bits for 'first 2', 'rest', ...")
        widths, places = (), tuple((k, v.whole()) for k, v in value.data.items())
    else:
        widths, places = tuple(each.whole() for each in value.items()), ()
    for width in {*widths, *(b for _, b in places)}:
        value.checked(lambda w=width: parse_target(scheme.replace(SLOT, str(w))))
    return value.checked(lambda: Blocks(scheme=scheme, each=widths, places=places))


def _place(scheme: str) -> dict[str, Any]:
    """Where a uniform plan stands in the charts: a line for each method and group, a point for each number of bits."""
    method, _, text = scheme.rpartition(":")
    form = Format.parse(text)
    grain = {"channel": 0, "tensor": 0}.get(form.granularity, form.group)
    rest = str(form).replace(f"{form.kind}{form.bits}", form.kind, 1)
    return {"series": f"{method}:{rest}" if method else rest, "bits": float(form.bits), "group": grain}


def _uniform(rules: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """The same for rules that give all layers one scheme, such as those that name layers which are kept by default."""
    schemes = {scheme for _, scheme in rules}
    return _place(*schemes) if len(schemes) == 1 and KEEP not in schemes and "*" in dict(rules) else {}
