"""Any string is a value that prints back as it parses, or is refused in one line. FEWBITS_FUZZ=100 tries 200,000."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fewbits import planfile
from fewbits.evaluate.row import Row
from fewbits.formats import Format
from fewbits.measure.protocols import parse_protocol
from fewbits.plan import Plan, Rule
from fewbits.scheme import Scheme, parse_target
from fewbits.search.goal import Goal
from fewbits.search.limits import parse_limit
from fewbits.study import document, reading
from fewbits.study.blocks import Blocks
from fewbits.study.quantity import Quantity
from fewbits.study.score import Expression
from fewbits.study.spec import Spec
from tests.fuzzing import cases, held

NAMES = (
    "",
    "a",
    "lm_head",
    "model.layers.11.self_attn.q_proj",
    "a" * 40,
    "model.layers.0.mlp.experts.255.down_proj" * 3,
    "x\ny",
    "é",
)
SCHEMES = (
    "hqq:uint4g64",
    "rtn:int8",
    "nf4g64/q8",
    "uint3g32z",
    "int8a8",
    "mse:uint2g16o/bf16",
    "fp8",
    "uint1t/f32",
    "keep",
    "uint8g128a8/q8",
)
LIMITS = (
    "size<=16MiB",
    "ppl<=+2%",
    "accuracy>=90%",
    "accuracy>=-0.5pt",
    "kl<=5e-2",
    "decode_speed>=100",
    "latency <= 20 ms",
    "memory<=-50%",
)
RULES = (
    "*attn*=rtn:int8",
    "re:model\\.layers\\.[0-3]\\..*=uint4g64",
    "lm_head=keep",
    "re:(a|b)+c{2,3}=nf4",
    "[!a]*.?=int8",
    "re:(?i)A(?=b).*$=keep",
)
SCORES = (
    "37 - size_MiB - 10*max(0, 90 - accuracy)",
    "ppl <= 14 and decode_speed_x >= 1.3",
    "not (kl > 0.1) or top1 == 1",
    "abs(-kl)/size_MB",
    "-ppl",
)
BLOCKS = ("first 2", "last quarter", "rest", "first half", "last 3", "first third")
STUDY = """title: t
about: >
  some text
models: [demo, other/one]
text: demo
max_tokens: 4000
protocol: windows:512
measures: [size, ppl, kl, decode_speed]
dtype: float32
on_misfit: keep
rows:
  - keep
  - &a rtn:int8
  - {scheme: "hqq:uint{bits}g{group}", grid: {bits: [4, 3, 2], group: [64]}, reported: [{bits: 4, size_MiB: 3, decode_speed @ x: 7}]}
  - name: "by block"
    scheme: hqq:uint{bits}g64
    blocks: {first 2: 8, rest: 4}
  - {name: r, rules: {"*attn*": "hqq:uint4g64", "*": keep}, skip: ["a*"]}
  - {rules: ["re:a{2}.*=uint{b}", "*=keep"], grid: {b: [4, 8]}}
  - {peer: hqq, bits: 4}
scores: {one: 15 - size_MiB, two: ppl < 3}
alone: hqq:uint2g64
weights: nf4
"""
PLAN = """version: 1
rules:
- {match: '*attn*', scheme: 'rtn:int8'}
- {match: 're:.*mlp.*', scheme: keep}
on_misfit: channel
coverage: 0.5
total_params: 100
decisions:
- {name: a.b, kind: Linear, params: 40, scheme: 'hqq:uint4g64', why: 'rule *'}
- {name: a.c, kind: Linear, params: 40, scheme: keep, why: 'rule *', tied_to: a.b}
"""


def scheme(text: str) -> object:
    found = Scheme.parse(text)
    assert Scheme.parse(str(found)) == found and str(Scheme.parse(str(found))) == str(found)
    return found


def format(text: str) -> object:
    found = Format.parse(text)
    assert Format.parse(str(found)) == found
    return found


def target(text: str) -> object:
    found = parse_target(text)
    return "keep" if found is None else found


def limit(text: str) -> object:
    found = parse_limit(text)
    again = parse_limit(str(found))
    assert (again.measure, again.value, again.base, str(again)) == (found.measure, found.value, found.base, str(found))
    held(text, lambda _: Goal.of([found]))
    return found


def rule(text: str) -> object:
    found = Rule.parse(text)
    assert Rule.parse(str(found)) == found
    for name in NAMES:
        held(name, lambda name: (found.matches(name), found.names(name)))
    return found


def score(text: str) -> object:
    found = Expression(text)
    for value in (0, 1.5, None, float("nan"), float("inf"), -1e308):
        result = found.of(lambda _, value=value: value)
        json.dumps(result, allow_nan=False)
    return found


def quantity(text: str) -> object:
    return Quantity.parse(text)


def blocks(text: str) -> object:
    place, _, form = text.partition("|")
    found = Blocks(scheme=form, places=((place, 4), ("rest", 2)))
    held(text, lambda _: found.rules([f"model.layers.{i}.mlp" for i in range(5)]))
    return found


def protocol(text: str) -> object:
    found = parse_protocol(text)
    assert parse_protocol(str(found)) == found
    return found


def study(text: str) -> object:
    found: Spec = reading.parse(document.parse(text, "s.yaml"), text)
    labels = [row.label for row in found.rows]
    assert len(set(labels)) == len(labels) <= reading.MOST_ROWS and all(label.isprintable() for label in labels)
    return found


def recipe(text: str) -> object:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "plan.yaml")
        path.write_bytes(text.encode(errors="surrogatepass"))
        found: Plan = planfile.read(path)
        path.write_text(planfile.to_yaml(found), encoding="utf-8")
        assert planfile.read(path) == found
    return found


KINDS: dict[str, tuple[Callable[[str], object], tuple[str, ...], int]] = {
    "scheme": (scheme, SCHEMES, 300),
    "format": (format, tuple(text.rpartition(":")[2] for text in SCHEMES), 300),
    "target": (target, SCHEMES, 100),
    "limit": (limit, LIMITS, 300),
    "rule": (rule, RULES, 250),
    "score": (score, SCORES, 250),
    "quantity": (quantity, ("size_MiB", "accuracy", "latency_ms", "decode_speed_x", "ppl", "bits"), 100),
    "blocks": (blocks, tuple(f"{place}|uint{{bits}}g64" for place in BLOCKS), 100),
    "protocol": (protocol, ("windows:512", "plain:2048", "stride:1024:512", "sentences"), 100),
    "study": (study, (STUDY,), 120),
    "recipe": (recipe, (PLAN,), 80),
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_string_parses_or_is_refused_in_one_line(kind: str) -> None:
    parse, good, count = KINDS[kind]
    held("windows:" + "9" * 5000, parse)
    for text in good:
        assert held(text, parse) is not None or (kind == "scheme" and text == "keep") or kind == "format", text
    accepted = sum(held(text, parse) is not None for text in cases(good, count, seed=len(kind)))
    assert 0 < accepted < count * 1000


@pytest.mark.parametrize("text", [PLAN, STUDY])
def test_a_line_repeated_or_missing_is_named_or_harmless(text: str) -> None:
    lines = text.splitlines(keepends=True)
    parse: Any = recipe if text == PLAN else study
    for at in range(len(lines)):
        held("".join(lines[:at] + lines[at + 1 :]), parse)
        held("".join(lines[: at + 1] + lines[at:]), parse)


def test_results_are_strict_json_whatever_is_in_a_row() -> None:
    from fewbits.evaluate.row import document as as_document
    from fewbits.measure.result import Measure
    from fewbits.strictjson import dumps

    for text in cases(SCHEMES, 100, seed=0):
        row = Row(model=text, plan=None, measures={"ppl": Measure(name="ppl", value=float("nan"), unit=text)}, notes=(text,))
        json.loads(dumps(as_document([row])).encode(), parse_constant=lambda name: pytest.fail(name))
