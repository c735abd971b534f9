"""Rules and plans by themselves: what a pattern reaches, and which rule wins. (On models: test_apply.py.)"""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewbits.errors import FewbitsError
from fewbits.plan import Decision, Plan, Rule
from fewbits.scheme import Scheme

INT8 = Scheme.parse("rtn:int8")
NF4 = Scheme.parse("nf4")


def rule(match: str, scheme: Scheme | None = INT8) -> Rule:
    return Rule(match=match, scheme=scheme)


@pytest.mark.parametrize(
    ("match", "name", "reaches"),
    [
        ("*", "model.layers.0.mlp", True),
        ("*", "", True),
        ("*attn*", "model.layers.0.self_attn.q_proj", True),
        ("*attn*", "model.layers.0.mlp.up_proj", False),
        ("*.self_attn.*", "model.layers.0.self_attn.q_proj", True),
        ("lm_head", "lm_head", True),
        ("lm_head", "model.lm_head", False),
        ("q_proj", "model.q_proj", False),  # a glob is for the whole name
        ("model.layers.[01].*", "model.layers.1.mlp", True),
        ("model.layers.[01].*", "model.layers.2.mlp", False),
        ("model.layers.?.mlp", "model.layers.11.mlp", False),
        ("*Attn*", "model.attn", False),  # case counts, on every system
        (r"re:.*\.(q|k)_proj", "model.layers.0.self_attn.k_proj", True),
        (r"re:.*\.(q|k)_proj", "model.layers.0.self_attn.v_proj", False),
        ("re:model", "model.layers", False),  # the whole name here too
        ("re:", "", True),
    ],
)
def test_what_a_pattern_matches(match: str, name: str, reaches: bool) -> None:
    assert rule(match).matches(name) is reaches


@pytest.mark.parametrize(
    ("match", "name", "reaches"),
    [
        ("*", "lm_head", False),
        ("*.*", "model.lm_head", False),
        ("**", "lm_head", False),
        ("?*", "lm_head", False),
        ("*.self_attn.*", "model.self_attn.gate", False),
        ("model.*", "model.embed_tokens", False),
        ("*model*", "model.embed_tokens", False),  # names the folder, not the layer
        ("lm_head", "lm_head", True),
        ("*head", "lm_head", True),
        ("*head*", "lm_head", True),
        ("*lm*head", "lm_head", True),
        ("lm_hea?", "lm_head", True),
        ("lm[_-]head", "lm_head", True),
        ("*embed_tokens", "model.embed_tokens", True),
        ("*.embed*", "model.embed_tokens", True),
        ("*embed*", "bert.embeddings.word_embeddings", True),
        ("model.embed_tokens", "model.embed_tokens", True),
        ("*.gate", "model.layers.0.mlp.gate", True),
        ("*.gate", "model.layers.0.mlp.up_proj", False),
        ("re:.*", "lm_head", True),
        ("re:.*embed.*", "model.embed_tokens", True),
        ("re:.*embed.*", "lm_head", False),
    ],
)
def test_what_names_a_layer_that_is_kept_by_default(match: str, name: str, reaches: bool) -> None:
    assert rule(match).names(name) is reaches


@given(st.text(max_size=12), st.text(max_size=12))
def test_what_names_a_layer_matches_it(match: str, name: str) -> None:
    made = rule("*" + match)
    assert made.matches(name) or not made.names(name)


def test_a_layer_is_named_by_its_own_name_whatever_is_in_it() -> None:
    for name in ("lm_head", "model.layers.0", "a[0].b", "weird*name"):
        assert rule(name).names(name) == rule(name).matches(name)


@pytest.mark.parametrize(
    ("text", "match", "scheme"),
    [
        ("*attn*=rtn:int8", "*attn*", INT8),
        ("*=keep", "*", None),
        (" lm_head = nf4 ", "lm_head", NF4),
        ("re:(?=model).*=rtn:int8", "re:(?=model).*", INT8),  # the last = is the one
    ],
)
def test_rules_from_the_command_line(text: str, match: str, scheme: Scheme | None) -> None:
    assert Rule.parse(text) == Rule(match=match, scheme=scheme)
    assert Rule.parse(str(Rule.parse(text))) == Rule.parse(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("*attn*", "a rule is GLOB=SCHEME, such as '*attn*=rtn:int8' or '*=keep', not '*attn*'"),
        ("=rtn:int8", "a rule is GLOB=SCHEME"),
        ("*=", "unknown format ''"),
        ("*=rtn:int99", "int has no 99 bits"),
        ("re:(=rtn:int8", "'re:(' is no regular expression"),
    ],
)
def test_bad_rules_are_refused(text: str, says: str) -> None:
    with pytest.raises(FewbitsError, match=re.escape(says)):
        Rule.parse(text)


def test_the_first_rule_that_matches_wins() -> None:
    plan = Plan.of({"*attn.q": "nf4", "*attn*": "keep", "*": "rtn:int8"})
    assert [str(plan.rule_for(name)) for name in ("x.attn.q", "x.attn.k", "x.mlp")] == [
        "*attn.q=nf4",
        "*attn*=keep",
        "*=rtn:int8",
    ]
    assert Plan.of({"*attn*": "nf4"}).rule_for("mlp") is None


def test_a_bare_star_does_not_reach_what_is_kept_by_default() -> None:
    plan = Plan.of({"*": "rtn:int8", "lm_head": "nf4"})
    assert str(plan.rule_for("lm_head", kept_by_default=True)) == "lm_head=nf4"
    assert str(plan.rule_for("lm_head")) == "*=rtn:int8"
    assert plan.rule_for("embed", kept_by_default=True) is None


def test_all_ways_to_say_one_plan() -> None:
    expected = Plan(rules=(rule("*"),))
    assert Plan.of("rtn:int8") == Plan.of(INT8) == Plan.of({"*": "rtn:int8"}) == Plan.of({"*": INT8}) == expected
    assert Plan.of(expected) == expected
    assert Plan.of({"*": None}) == Plan.of("keep") == Plan(rules=(rule("*", None),))


def test_skip_goes_before_all_rules() -> None:
    plan = Plan.of({"*": "rtn:int8"}, skip=["a*", "b"])
    assert [str(r) for r in plan.rules] == ["a*=keep", "b=keep", "*=rtn:int8"]
    assert [str(r) for r in Plan.of(plan, skip=("c",)).rules] == ["c=keep", "a*=keep", "b=keep", "*=rtn:int8"]


def test_on_misfit_is_kept_unless_another_is_asked_for() -> None:
    plan = Plan.of("rtn:int8", on_misfit="keep")
    assert Plan.of(plan).on_misfit == "keep"
    assert Plan.of(plan, on_misfit="channel").on_misfit == "channel"


def test_plans_print_as_their_scheme_or_their_rules() -> None:
    assert str(Plan.of("hqq:uint4g64")) == "hqq:uint4g64"
    assert str(Plan.of("keep")) == "keep"
    assert str(Plan.of({"*attn*": "rtn:int8", "*": "keep"})) == "*attn*=rtn:int8 *=keep"
    assert str(Plan.of({"*attn*": "rtn:int8"})) == "*attn*=rtn:int8"


def test_coverage_counts_what_is_stored_once() -> None:
    decisions = (
        Decision(name="embed", kind="Embedding", params=300, scheme=INT8, why="rule embed"),
        Decision(name="head", kind="Linear", params=300, scheme=INT8, why="tied to embed", tied_to="embed"),
        Decision(name="body", kind="Linear", params=100, scheme=None, why="rule body"),
    )
    plan = Plan(rules=(rule("*"),), decisions=decisions, total_params=500)
    assert plan.quantized_params == 300
    assert plan.coverage == 0.6
    assert Plan(rules=()).coverage == 0.0
