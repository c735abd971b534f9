"""Plans as YAML: what is written is read back, and what is wrong is named with its file."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fewbits import planfile
from fewbits.apply import resolve
from fewbits.errors import FewbitsError
from fewbits.plan import Decision, OnMisfit, Plan, Rule
from fewbits.scheme import Scheme
from tests import tiny
from tests.strategies import formats

schemes = st.none() | st.builds(Scheme, method=st.sampled_from(["rtn", "absmax"]), format=formats())
names = st.text(max_size=20)
rules = st.builds(Rule, match=names.filter(lambda name: not name.startswith("re:")), scheme=schemes)
decisions = st.builds(
    Decision,
    name=names,
    kind=names,
    params=st.integers(0, 2**40),
    scheme=schemes,
    why=names,
    tied_to=st.none() | names.filter(bool),
)
misfits = st.sampled_from(["error", "keep", "channel"])


@given(st.lists(rules, max_size=4), misfits)
def test_rules_round_trip_through_yaml(ordered: list[Rule], on_misfit: OnMisfit) -> None:
    plan = Plan(rules=tuple(ordered), on_misfit=on_misfit)
    assert planfile.from_dict(yaml.safe_load(planfile.to_yaml(plan))) == plan


@given(st.lists(rules, max_size=2), st.lists(decisions, min_size=1, max_size=3), st.integers(0, 2**40))
def test_decisions_round_trip_through_yaml_and_json(ordered: list[Rule], made: list[Decision], total: int) -> None:
    plan = Plan(rules=tuple(ordered), decisions=tuple(made), total_params=total)
    assert planfile.from_dict(yaml.safe_load(planfile.to_yaml(plan))) == plan
    assert planfile.from_dict(json.loads(json.dumps(planfile.to_dict(plan)))) == plan


def test_a_plan_that_met_a_model_round_trips_through_a_file(tmp_path: Path) -> None:
    plan = resolve(tiny.tied(), Plan.of({"*embed": "nf4", "*": "rtn:uint3g16z/q8"}))
    file = tmp_path / "plan.yaml"
    file.write_text(planfile.to_yaml(plan), encoding="utf-8")
    assert planfile.read(file) == plan
    assert yaml.safe_load(file.read_text())["coverage"] == round(plan.coverage, 6)


def test_what_a_person_writes(tmp_path: Path) -> None:
    file = tmp_path / "attention.yaml"
    file.write_text('version: 1\nrules:\n  - {match: "*attn*", scheme: "rtn:int8"}\n  - {match: "*", scheme: keep}\n')
    assert planfile.read(file) == Plan.of({"*attn*": "rtn:int8", "*": "keep"})
    file.write_text("rules: [{match: lm_head, scheme: nf4}]\non_misfit: channel")
    assert planfile.read(str(file)) == Plan.of({"lm_head": "nf4"}, on_misfit="channel")


GOOD = {"name": "a", "kind": "Linear", "params": 4, "scheme": "nf4", "why": "rule *"}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, "a plan is a mapping with a list of 'rules', each with 'match' and 'scheme'"),
        ([], "a plan is a mapping"),
        ("rtn:int8", "a plan is a mapping"),
        ({"rules": "rtn:int8"}, "a plan is a mapping"),
        ({"rules": [], "rule": []}, "unknown key 'rule' in the plan: coverage, decisions"),
        ({"rules": [], 3: 4, "x": 5}, "unknown key '3' in the plan"),
        ({"rules": [], "version": 2}, "the plan is of version 2, this fewbits reads version 1"),
        ({"rules": [], "version": None}, "the plan is of version None"),
        ({"rules": ["*=keep"]}, "a rule has 'match' and 'scheme', not '*=keep'"),
        ({"rules": [{"match": "*"}]}, "a rule has 'match' and 'scheme'"),
        ({"rules": [{"match": "*", "scheme": "keep", "bits": 4}]}, "a rule has 'match' and 'scheme'"),
        ({"rules": [{"match": "*", "scheme": "uint4g64x"}]}, "unknown format 'uint4g64x'"),
        ({"rules": [{"match": "re:[", "scheme": "keep"}]}, "'re:[' is no regular expression"),
        ({"rules": [], "decisions": 5}, "'decisions' is a list"),
        ({"rules": [], "decisions": None}, "'decisions' is a list"),
        ({"rules": [], "decisions": [5]}, "this decision is incomplete: 5"),
        ({"rules": [], "decisions": [{"name": "a"}]}, "this decision is incomplete: {'name': 'a'}"),
        ({"rules": [], "decisions": [GOOD | {"scheme": 4}]}, "this decision is incomplete"),
        ({"rules": [], "decisions": [GOOD | {"params": "4"}]}, "this decision is incomplete"),
        ({"rules": [], "decisions": [GOOD | {"name": None}]}, "this decision is incomplete"),
        ({"rules": [], "total_params": "many"}, "'total_params' a whole number"),
        ({"rules": [], "on_misfit": "guess"}, "on_misfit is one of error, keep, channel, not 'guess'"),
        ({"rules": [], "on_misfit": ["keep"]}, "on_misfit is one of error, keep, channel"),
    ],
)
def test_what_is_wrong_is_named(data: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(FewbitsError, match=re.escape(says)):
        planfile.from_dict(data)
    file = tmp_path / "plan.yaml"
    file.write_text(yaml.safe_dump(data))
    with pytest.raises(FewbitsError, match=re.escape(f"{file}: ")):
        planfile.read(file)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["version", "rules", "on_misfit", "decisions", "total_params"]), json_like))
def test_garbage_is_refused(data: Any) -> None:
    try:
        plan = planfile.from_dict(data | {"rules": data.get("rules", [])})
    except FewbitsError:
        return
    again = planfile.from_dict(planfile.to_dict(plan))
    assert (again.rules, again.on_misfit, again.decisions) == (plan.rules, plan.on_misfit, plan.decisions)


@pytest.mark.parametrize(
    "content", [b"rules: [", b"\xff\xfe\x00", b"{match: *attn*, scheme: keep}", b"a: b: c", b"!!python/object:os.system {}"]
)
def test_what_is_no_yaml_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_bytes(content)
    with pytest.raises(FewbitsError) as caught:
        planfile.read(file)
    assert str(caught.value).startswith(f"{file}: cannot be read as YAML: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("rules:\n- {match: a, scheme: keep}\n- {match: b, scheme: uint9}\n", ("line 3", "9 bits")),
        ("rules:\n- {match: a, match: b, scheme: keep}\n", ("line 2", "'match'", "twice")),
        ("rules: []\nrules: []\n", ("line 2", "'rules'", "twice")),
        ("rules:\n- {match: [a], scheme: keep}\n", ("line 2", "texts")),
        ("rules:\n- {match: a, scheme: yes}\n", ("line 2", "unknown format 'yes'")),
        ("rules:\n- {match: 're:(a', scheme: keep}\n", ("line 2", "no regular expression")),
        ("rules: []\nversion: true\n", ("line 2", "'version'")),
        ("rules: []\ntotal_params: -1\n", ("line 2", "'total_params'")),
        ("rules: []\nextra: 1\n", ("line 2", "'extra'", "unknown key")),
        ("rules: &a [*a]\n", ("line 1", "alias")),
        ("rules: !!python/tuple []\n", ("line 1", "tag")),
        ("rules: []\n---\nrules: []\n", ("line 2", "second document")),
    ],
)
def test_a_mistake_in_a_recipe_is_named_by_its_line(content: str, parts: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(content)
    with pytest.raises(FewbitsError) as error:
        planfile.read(file)
    assert not [part for part in (f"{file}: ", *parts) if part not in str(error.value)], error.value


def test_a_pattern_is_taken_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("rules:\n- {match: 010, scheme: keep}\n- {match: 1.10, scheme: keep}\n")
    assert [rule.match for rule in planfile.read(file).rules] == ["010", "1.10"]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for place in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(FewbitsError, match=re.escape(f"{place}: cannot be read as YAML")):
            planfile.read(place)
