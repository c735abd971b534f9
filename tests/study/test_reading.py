from pathlib import Path

import pytest

from fewbits.errors import FewbitsError
from fewbits.study import document, reading
from fewbits.study.spec import ORIGINAL, Spec

STUDIES = Path(__file__).parents[2] / "studies"
START = "title: t\nmodel: demo\nrows:\n"


def spec(text: str) -> Spec:
    return reading.parse(document.parse(text, "s.yaml"), text)


def test_every_kind_of_row() -> None:
    rows = spec(
        START
        + "  - keep\n  - uint4g64\n"
        + "  - {scheme: 'hqq:uint{bits}g{group}', grid: {bits: [4, 3], group: [64, 32]}}\n"
        + "  - {rules: {'*attn*': 'rtn:int8', '*': keep}, name: mine}\n"
        + "  - {rules: ['*attn*=rtn:int8', '*=keep'], skip: '*o_proj'}\n"
        + "  - {scheme: 'uint{bits}', blocks: [8, 4]}\n"
        + "  - {peer: hqq, grid: {bits: [4, 3]}}\n"
        + "  - {peer: bitsandbytes, kind: nf4, double: true}\n"
    ).rows
    assert [row.label for row in rows[:6]] == [
        ORIGINAL,
        "rtn:uint4g64",
        *(f"hqq:uint{b}g{g}" for b in (4, 3) for g in (64, 32)),
    ]
    assert rows[0].original and not rows[1].original
    assert (rows[2].series, rows[2].bits, rows[2].group) == ("hqq:uintg64", 4.0, 64)
    assert rows[6].rules == rows[7].rules[1:] and rows[7].rules[0] == ("*o_proj", "keep")
    assert rows[8].blocks is not None and rows[8].blocks.each == (8, 4)
    assert [row.label for row in rows[9:]] == ["hqq 4 bits g64", "hqq 3 bits g64", "bitsandbytes nf4 double"]
    assert rows[-1].options == {"kind": "nf4", "double": True}


def test_rules_of_one_scheme_are_a_point_of_its_line() -> None:
    head = START + "  - {rules: {lm_head: 'rtn:int4g64', '*': 'rtn:int4g64'}"
    named, plain = spec(head + ", series: all}\n").rows[0], spec(head + "}\n").rows[0]
    assert (named.series, named.bits, named.group) == ("all", 4.0, 64)
    assert (plain.series, plain.bits, plain.group) == ("rtn:intg64", 4.0, 64)
    for rules in ("{lm_head: keep, '*': 'rtn:int4'}", "{'*mlp*': 'rtn:int4'}", "{lm_head: 'rtn:int8', '*': 'rtn:int4'}"):
        assert spec(START + f"  - {{rules: {rules}}}\n").rows[0].bits is None


def test_reported_figures_find_their_rows() -> None:
    rows = spec(
        START
        + "  - scheme: 'uint{bits}g{group}'\n    grid: {bits: [4, 2], group: [64, 32]}\n    reported:\n"
        + "      - {bits: 4, group: 64, size_MiB: 1.5, accuracy: 90}\n      - {bits: 2, decode_speed @ a GPU: 7}\n"
    ).rows
    assert [(r.measure, r.value, r.unit) for r in rows[0].reported] == [("size", 1.5, "MiB"), ("accuracy", 90, "%")]
    assert rows[1].reported == ()
    assert [row.reported[0].where for row in rows[2:]] == ["a GPU", "a GPU"]


def test_a_recipe_is_found_beside_the_study_or_here(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("version: 1\nrules:\n  - {match: '*', scheme: uint4}\n")
    text = START + "  - {recipe: r.yaml}\n"
    found = reading.parse(document.parse(text, str(tmp_path / "s.yaml")), text)
    assert (found.rows[0].label, found.rows[0].rules) == ("r", (("*", "rtn:uint4"),))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("model: demo\nrows: [keep]", ("line 1", "no 'title'")),
        ("title: t\nrows: [keep]", ("'model' or 'models'",)),
        ("title: t\nmodel: demo\nrow: [keep]", ("line 3", "'row'", "allowed here are", "did you mean 'rows'")),
        ("title: t\nmodel: demo\nrows: keep", ("line 3", "'rows'", "a list")),
        (START + "  - uint9\n", ("line 4", "'rows'", "9 bits")),
        (START + "  - {schema: uint4}\n", ("line 4", "'schema'", "scheme, rules, recipe, peer")),
        (START + "  - {scheme: uint4, peer: hqq}\n", ("line 4", "not both scheme and peer")),
        (START + "  - {name: x}\n", ("line 4", "one of scheme, rules")),
        (START + "  - keep\n  - {scheme: 'uint{bit}', grid: {bits: [4]}}\n", ("line 5", "'scheme'", "'bit'", "bits")),
        (START + "  - {peer: hq}\n", ("line 4", "'peer'", "hqq")),
        (START + "  - {peer: hqq, bit: 4}\n", ("line 4", "'bit'", "bits, group, axis")),
        (START + "  - {peer: hqq, bits: 7}\n", ("line 4", "'peer'", "7 bits")),
        (START + "  - {peer: hqq, grid: {kind: [a]}}\n", ("line 4", "'grid'", "no option 'kind'")),
        (START + "  - {scheme: keep, reported: {size_KG: 3}}\n", ("line 4", "'size_KG'", "MiB")),
        (
            START + "  - {scheme: 'uint{b}', grid: {b: [4]}, reported: [{b: 5, ppl: 3}]}\n",
            ("line 4", "no row of the grid has b 5"),
        ),
        (START + "  - {recipe: nowhere.yaml}\n", ("line 4", "'recipe'", "nowhere.yaml")),
        (START + "  - keep\n  - keep\n", ("line 5", "line 4 already", "'name'")),
        (START + "  - {scheme: 'uint{bits}', blocks: {frist 2: 8}}\n", ("line 4", "'blocks'", "frist 2")),
        (START + "  - keep\nmeasures: [ppl, sise]\n", ("line 5", "'measures'", "sise", "size")),
        (START + "  - keep\nprotocol: window\n", ("line 5", "'protocol'", "windows:512")),
        (START + "  - keep\nscore: 37 - sise_MiB\n", ("line 5", "'score'", "sise_MiB")),
        (START + "  - keep\nmax_tokens: many\n", ("line 5", "'max_tokens'", "whole number")),
        (START + "  - keep\narithmetic: fast\n", ("line 5", "'arithmetic'", "exact, kernels")),
        (START + "  - keep\nalone: uint2g\n", ("line 5", "'alone'", "uint2g")),
        (START + "  - keep\non_misfit: never\n", ("line 5", "'on_misfit'", "error, keep, channel")),
        ("title: t\nmodels: [a, a]\nrows: [keep]", ("line 2", "'models'", "each once")),
    ],
)
def test_a_mistake_is_named_by_line_and_key(text: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(FewbitsError) as error:
        spec(text)
    message = str(error.value)
    assert not [part for part in ("s.yaml", *parts) if part not in message], message
    assert "\n" not in message


def test_other_models_and_data_in_their_place() -> None:
    text = START + "  - keep\nimages: a.npz\nmax_images: 5\n"
    found = reading.override(spec(text), models=("x", "y"), data="b.npz", max_images=3, max_tokens=None)
    assert (found.models, found.settings.images, found.settings.max_images) == (("x", "y"), "b.npz", 3)
    with pytest.raises(FewbitsError, match="neither text nor images"):
        reading.override(spec(START + "  - keep\n"), data="b.npz")


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda p: p.stem)
def test_the_studies_that_ship_can_be_read(path: Path) -> None:
    found = reading.read(path)
    assert found.rows[0].original and found.settings.measures


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "~nobody-here/x", "\ud800"])
def test_names_that_no_path_can_have(name: str) -> None:
    with pytest.raises(FewbitsError):
        reading.find(name)
    found = spec(f"title: t\nmodel: '{'m' * 5000}'\nrows: [keep]\n")
    assert found.models == ("m" * 5000,)


def test_they_are_found_by_name() -> None:
    assert reading.find("demo") == STUDIES / "demo.yaml"
    with pytest.raises(FewbitsError, match="did you mean 'demo'"):
        reading.find("dmo")
