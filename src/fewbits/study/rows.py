"""Rows of a study's file: a scheme, rules, a recipe, bits by block, or a peer; a grid makes a row for each combination.

- keep
- hqq:uint4g64
- {scheme: "hqq:uint{bits}g{group}", grid: {bits: [8, 4], group: [64, 32]}}
- {peer: bitsandbytes, kind: nf4}
"""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fewbits import planfile
from fewbits.formats import Format
from fewbits.plan import OnMisfit, Rule, misfit_named
from fewbits.scheme import KEEP, parse_target
from fewbits.study.blocks import Blocks
from fewbits.study.document import Value
from fewbits.study.quantity import Quantity
from fewbits.study.results import Reported
from fewbits.study.spec import ORIGINAL, RowSpec

_WHAT = ("scheme", "rules", "recipe", "peer")
_COMMON = ("name", "series", "grid", "reported", "skip", "on_misfit", "blocks")
KEYS = (*_WHAT, *_COMMON)


def read_row(value: Value, misfit: OnMisfit) -> list[RowSpec]:
    """The row, or rows of a grid, that an entry of `rows` says."""
    where = f"{value.file}, line {value.line}"
    if not isinstance(value.data, dict):
        return [_plain(value, where, misfit)]
    given = value.mapping() if "peer" in value.data else value.mapping(KEYS)
    what = [key for key in _WHAT if key in given]
    if len(what) != 1:
        value.fail(f"a row has one of {', '.join(_WHAT)}{f', not both {what[0]} and {what[1]}' if what else ''}")
    combinations = _grid(given)
    if "on_misfit" in given:
        misfit = given["on_misfit"].checked(lambda: misfit_named(given["on_misfit"].text()))
    rows = [_row(value, given, what[0], each, where, misfit) for each in combinations]
    return _with_reported(rows, combinations, given)


def _plain(value: Value, where: str, misfit: OnMisfit) -> RowSpec:
    text = value.text()
    scheme = value.checked(lambda: parse_target(text))
    if scheme is None:
        return RowSpec(label=ORIGINAL, where=where)
    return RowSpec(label=str(scheme), where=where, rules=(("*", str(scheme)),), on_misfit=misfit, **_place(str(scheme)))


def _grid(given: Mapping[str, Value]) -> list[dict[str, Any]]:
    """Every combination of the grid's values; one empty one without a grid."""
    if "grid" not in given:
        return [{}]
    axes = given["grid"].mapping(what="a list of values for each name")
    values = {
        name: [each.text() if isinstance(each.data, str) else each.plain() for each in v.items()] for name, v in axes.items()
    }
    return [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]


def _row(value: Value, given: Mapping[str, Value], what: str, at: Mapping[str, Any], where: str, misfit: OnMisfit) -> RowSpec:
    name = _filled(given["name"], at) if "name" in given else ""
    series = _filled(given["series"], at) if "series" in given else ""
    skip = tuple((each.text(), KEEP) for each in given["skip"].items()) if "skip" in given else ()
    common: dict[str, Any] = {"where": where, "on_misfit": misfit}
    if what == "peer":
        return _peer(given, at, name, series, common)
    if what == "scheme":
        return _scheme(given, at, name, series, skip, common)
    if what == "recipe":
        path = Path(given["recipe"].text())
        beside = Path(value.file).parent / path
        plan = given["recipe"].checked(lambda: planfile.read(beside if beside.exists() else path))
        common["on_misfit"] = plan.on_misfit
        rules = tuple((rule.match, str(rule.scheme or KEEP)) for rule in plan.rules)
        return RowSpec(label=name or path.stem, rules=(*skip, *rules), series=series, **common)
    rules = _rules(given["rules"], at)
    label = name or " ".join(f"{m}={s}" for m, s in rules)
    common |= _uniform(rules)
    if series:
        common["series"] = series
    return RowSpec(label=label, rules=(*skip, *rules), **common)


def _scheme(
    given: Mapping[str, Value], at: Mapping[str, Any], name: str, series: str, skip: tuple[Any, ...], common: dict[str, Any]
) -> RowSpec:
    if "blocks" in given:
        blocks = _blocks(given["blocks"], given["scheme"].text())
        label = name or f"{blocks.scheme} with " + (",".join(map(str, blocks.each)) or str(dict(blocks.places)))
        return RowSpec(label=label, blocks=blocks, series=series, **common)
    text = _filled(given["scheme"], at)
    scheme = given["scheme"].checked(lambda: parse_target(text))
    if scheme is None:
        return RowSpec(label=name or ORIGINAL, where=common["where"])
    place = common | _place(str(scheme))
    if series:
        place["series"] = series
    return RowSpec(label=name or str(scheme), rules=(*skip, ("*", str(scheme))), **place)


def _peer(given: Mapping[str, Value], at: Mapping[str, Any], name: str, series: str, common: dict[str, Any]) -> RowSpec:
    from fewbits import peers

    library = given["peer"].one_of(peers.names())
    allowed = peers.options_of(library)
    options: dict[str, Any] = {}
    for key, value in given.items():
        if key not in ("peer", *_COMMON):
            if key not in allowed:
                Value(data=None, line=value.line, key=key, file=value.file).fail(
                    f"unknown key; {library} has {', '.join(allowed)}, and every row {', '.join(_COMMON)}"
                )
            options[key] = value.plain()
    options |= {key: v for key, v in at.items() if key in allowed}
    if unused := [key for key in at if key not in allowed]:
        given["grid"].fail(f"{library} has no option '{unused[0]}': {', '.join(allowed)}")
    peer = given["peer"].checked(lambda: peers.make(library, options))
    return RowSpec(
        label=name or f"{library} {peer.label}",
        peer=library,
        options=options,
        series=series or f"{library} {peer.series}".strip(),
        bits=peer.nominal_bits,
        group=peer.nominal_group,
        **common,
    )


def _rules(value: Value, at: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """A mapping of patterns to schemes, or a list of `GLOB=SCHEME`; the first that matches wins."""
    if isinstance(value.data, list):
        found = [each.checked(lambda e=each: Rule.parse(_filled(e, at))) for each in value.items()]
        return tuple((rule.match, str(rule.scheme or KEEP)) for rule in found)
    rules = []
    for match, target in value.mapping(what="a scheme for each pattern").items():
        scheme = target.checked(lambda t=target: parse_target(_filled(t, at)))
        target.checked(lambda m=match, s=scheme: Rule(match=m, scheme=s))
        rules.append((match, str(scheme or KEEP)))
    return tuple(rules)


def _blocks(value: Value, scheme: str) -> Blocks:
    if isinstance(value.data, list):
        widths = tuple(each.whole() for each in value.items())
        places: tuple[tuple[str, int], ...] = ()
    else:
        widths, places = (), tuple((k, v.whole()) for k, v in value.mapping(what="bits for 'first 2', 'rest', ...").items())
    for width in {*widths, *(b for _, b in places)}:
        value.checked(lambda w=width: parse_target(scheme.format(bits=w)))
    return value.checked(lambda: Blocks(scheme=scheme, each=widths, places=places))


def _filled(value: Value, at: Mapping[str, Any]) -> str:
    """A text with `{name}` replaced by the grid's values."""
    try:
        return value.text().format(**at)
    except (KeyError, IndexError, ValueError) as error:
        value.fail(f"'{value.text()}': {error} is no name in the grid ({', '.join(at) or 'there is none'})")


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


def _with_reported(rows: list[RowSpec], combinations: list[dict[str, Any]], given: Mapping[str, Value]) -> list[RowSpec]:
    """Give each row the figures that were reported for it: those whose grid values are all its own."""
    if "reported" not in given:
        return rows
    found: list[tuple[Reported, ...]] = [() for _ in rows]
    for each in given["reported"].items():
        figures = each.mapping(what="a number for each measure, such as size_MiB")
        of = {name: v.plain() for name, v in figures.items() if name in combinations[0]}
        told = tuple(_reported(name, v) for name, v in figures.items() if name not in of)
        hit = [i for i, at in enumerate(combinations) if all(at[name] == value for name, value in of.items())]
        if not hit:
            each.fail(f"no row of the grid has {', '.join(f'{k} {v}' for k, v in of.items())}")
        for i in hit:
            found[i] = (*found[i], *told)
    return [replace(row, reported=figures) for row, figures in zip(rows, found, strict=True)]


def _reported(name: str, value: Value) -> Reported:
    text, _, where = name.partition(" @ ")
    quantity = value.checked(lambda: Quantity.parse(text))
    return Reported(measure=quantity.measure, value=value.number(), unit=quantity.unit, where=where)
