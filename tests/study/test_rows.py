"""Rows of a study: what contradicts itself, or would be ignored, is refused with its line and key."""

import pytest

from fewbits import strictyaml
from fewbits.errors import FewbitsError
from fewbits.study import reading
from fewbits.study.spec import Spec

START = "title: t\nmodel: demo\nrows:\n"
MANY = list(range(99))


def spec(text: str) -> Spec:
    return reading.parse(strictyaml.parse(text, "s.yaml"), text)


def refused(text: str, *parts: str) -> None:
    with pytest.raises(FewbitsError) as error:
        spec(text)
    message = str(error.value)
    assert not [part for part in ("s.yaml, line", *parts) if part not in message], message
    assert "\n" not in message and len(message) < 500


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ("{scheme: uint4g64, blocks: {rest: 2}}", ("'blocks'", "no {bits}", "uint{bits}g64")),
        ("{scheme: keep, blocks: {rest: 2}}", ("'blocks'", "means nothing")),
        ("{scheme: 'uint{bits}', blocks: {rest: 2}, grid: {bits: [4]}}", ("'bits'", "blocks")),
        ("{scheme: 'uint{bits}', blocks: {}}", ("'blocks'", "empty")),
        ("{scheme: 'uint{bits}', blocks: []}", ("'blocks'", "empty")),
        ("{scheme: 'uint{bits}', blocks: {rest: 9}}", ("'blocks'", "9 bits")),
        ("{scheme: keep, grid: {bits: [4]}}", ("'grid'", "means nothing")),
        ("{scheme: keep, skip: a}", ("'skip'", "means nothing")),
        ("{scheme: keep, on_misfit: keep}", ("'on_misfit'", "means nothing")),
        ("{scheme: keep, series: a}", ("'series'", "means nothing")),
        ("{peer: hqq, skip: a}", ("'skip'", "means nothing")),
        ("{peer: hqq, on_misfit: keep}", ("'on_misfit'", "means nothing")),
        ("{peer: hqq, blocks: {rest: 2}}", ("'blocks'", "means nothing")),
        ("{recipe: r.yaml, grid: {a: [1]}}", ("'grid'", "means nothing")),
        ("{recipe: r.yaml, blocks: {rest: 2}}", ("'blocks'", "means nothing")),
        ("{rules: {'*': uint4}, blocks: {rest: 2}}", ("'blocks'", "means nothing")),
        ("{rules: {'*': uint4}, skip: '*'}", ("'skip'", "has a rule too")),
        ("{rules: ['*=uint4', '*=int8']}", ("never reached",)),
        ("{rules: ['re:.*=uint4', '*=int8']}", ("never reached",)),
        ("{rules: {}}", ("'rules'", "empty")),
        ("{rules: []}", ("'rules'", "empty")),
        ("{rules: {'': uint4}}", ("key is empty",)),
        ("{scheme: uint4, skip: []}", ("'skip'", "empty")),
        ("{scheme: uint4, name: ''}", ("'name'", "empty")),
        ("{scheme: uint4, series: ' '}", ("'series'", "empty")),
        ("{scheme: uint4, reported: {}}", ("no figure",)),
        ("{scheme: uint4, reported: []}", ("'reported'", "empty")),
        ("{scheme: uint4, reported: {ppl: .inf}}", ("'ppl'", "number")),
        ("{scheme: uint4, reported: {ppl: .nan}}", ("'ppl'", "number")),
        ("{scheme: uint4, reported: {ppl: 1_000}}", ("'ppl'", "number")),
        ("{scheme: uint4, reported: {ppl: 1e999}}", ("'ppl'", "not finite")),
        ("{scheme: uint4, reported: [{ppl: 3}, {ppl: 4}]}", ("ppl is reported twice",)),
        ("{scheme: uint4, grid: {bits: [4]}}", ("'bits'", "not in the scheme")),
        ("{scheme: 'uint{b}', grid: {}}", ("'grid'", "empty")),
        ("{scheme: 'uint{b}', grid: {b: []}}", ("'b'", "empty")),
        ("{scheme: 'uint{b}', grid: {b: [4, 4]}}", ("'b'", "twice")),
        ("{scheme: 'uint{b}', grid: {b: [[4]]}}", ("'b'", "a word or a number")),
        ("{scheme: 'uint{b}', grid: {'b!r': [4]}}", ("'b!r'", "letters")),
        ("{peer: hqq, bits: 4, grid: {bits: [8]}}", ("'bits'", "give it once")),
        ("{peer: hqq, bits: '4'}", ("'bits'", "whole number")),
        ("{peer: hqq, bits: yes}", ("'bits'", "whole number")),
        ("{peer: hqq, bits: 4.0}", ("'bits'", "whole number")),
        ("{peer: hqq, bits: [4]}", ("'bits'", "whole number")),
        ("{peer: bitsandbytes, double: 1}", ("'double'", "true or false")),
        ("{scheme: [uint4]}", ("'scheme'", "a text")),
        ("{scheme: yes}", ("'scheme'", "quotes")),
        ("{scheme: uint4, skip: 're:('}", ("'skip'", "no regular expression")),
        ('{scheme: uint4, name: "a\\x1b[31m"}', ("'name'", "control")),
        ('{scheme: uint4, name: "a\\u202eb"}', ("'name'", "control")),
        (f"{{scheme: uint4, name: {'x' * 300}}}", ("'name'", "300 characters")),
    ],
)
def test_keys_that_contradict_each_other_or_mean_nothing(row: str, parts: tuple[str, ...]) -> None:
    refused(START + f"  - {row}\n", "line 4", *parts)


@pytest.mark.parametrize(
    "slot", ["{foo}", "{bits.x}", "{0}", "{}", "{bits!r}", "{bits:>1000000000}", "{bits", "bits}", "{{bits}}", "{bits[0]}"]
)
@pytest.mark.parametrize(
    "row", ["scheme: 'uint4{}'", "rules: {{'*': 'uint4{}'}}", "rules: ['*=uint4{}']", "scheme: a, name: '{}'"]
)
def test_braces_hold_names_of_the_grid_and_nothing_else(slot: str, row: str) -> None:
    refused(START + "  - {" + row.format(slot) + ", grid: {bits: [4]}}\n", "line 4")


def test_quantifiers_of_a_regular_expression_are_no_names() -> None:
    rows = spec(START + "  - {rules: ['re:a{2}.{1,3}\\{=uint{b}', '*=keep'], grid: {b: [4, 8]}}\n").rows
    assert [row.rules[0] for row in rows] == [("re:a{2}.{1,3}\\{", "rtn:uint4"), ("re:a{2}.{1,3}\\{", "rtn:uint8")]


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        (f"  - {{scheme: 'uint{{a}}g{{b}}', grid: {{a: {MANY}, b: {MANY}}}}}", ("9,801 rows",)),
        ("  - {scheme: uint4, name: A}\n  - {scheme: uint8, name: a}", ("line 5", "looks like")),
        ("  - {scheme: uint4, name: a b}\n  - {scheme: uint8, name: 'a  b'}", ("line 5", "already")),
        ("  - keep\nmeasures: []", ("'measures'", "empty")),
        ("  - keep\nmeasures: [ppl, ppl]", ("'measures'", "twice")),
        ("  - keep\nmeasures: quantize_time", ("'measures'", "another")),
        ("  - keep\nmeasures: size\nscore: 3 - ppl", ("'score'", "needs ppl")),
        ("  - keep\nscores: {}", ("'scores'", "empty")),
        ("  - keep\nscores: {score: ppl}\nscore: ppl", ("'scores'", "once")),
        ("  - keep\nscores: {ppl: 3 - ppl}", ("'ppl'", "no name")),
        ("  - keep\ndtype: float33", ("'dtype'", "float33", "bfloat16")),
        ("  - keep\nmax_tokens: 010", ("'max_tokens'", "8 to YAML")),
        ("  - keep\nmax_tokens: 1_000", ("'max_tokens'", "1000 to YAML")),
        ("  - keep\nmax_tokens: 1:30", ("'max_tokens'", "90 to YAML")),
        ("  - keep\nmax_tokens: 99999999999999999999", ("'max_tokens'", "whole number")),
        ("  - keep\nmax_tokens: .inf", ("'max_tokens'", "whole number")),
        ("  - keep\nrepeats: yes", ("'repeats'", "whole number")),
        ("  - keep\ntext: no", ("'text'", "quotes")),
        ("  - keep\ntext: ''", ("'text'", "empty")),
        ("  - keep\nalone: keep", ("'alone'",)),
        ("  - keep\nseed: -1", ("'seed'",)),
    ],
)
def test_settings_that_contradict_each_other_or_mean_nothing(lines: str, parts: tuple[str, ...]) -> None:
    refused(START + lines + "\n", *parts)


@pytest.mark.parametrize("models", ["model: [a, a]", "models: [a, a]", "models: []", "models: [., ./]"])
def test_models_are_named_once(models: str) -> None:
    refused(f"title: t\n{models}\nrows: [keep]\n", "line 2", "'model")


def test_a_skipped_layer_is_kept_in_a_row_by_blocks() -> None:
    row = spec(START + "  - {scheme: 'uint{bits}', blocks: {rest: 4}, skip: '*o_proj'}\n").rows[0]
    assert row.rules == (("*o_proj", "keep"),) and not row.original


def test_numbers_are_texts_as_they_are_written() -> None:
    rows = spec("title: 1.10\nmodel: demo\nrows:\n  - {scheme: uint4, name: 2024-01-01}\n")
    assert (rows.title, rows.rows[0].label) == ("1.10", "2024-01-01")
