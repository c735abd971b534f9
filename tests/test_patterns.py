"""Patterns match as Python's `re` and `fnmatch` do, and never take long."""

import re
import time
from fnmatch import fnmatchcase

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fewbits import patterns
from fewbits.errors import FewbitsError
from fewbits.patterns import matcher

_ATOMS = st.sampled_from(
    ["a", "b", r"\.", ".", "[ab]", "[^a]", r"\d", r"\w", r"\b", "^", "$", "(?=a)", "(?!a)", "(?<=a)", "(?<!b)", r"(?i:A)", "1"]
)
EXPRESSIONS = st.recursive(
    _ATOMS,
    lambda inner: (
        st.tuples(inner, inner).map("".join)
        | st.tuples(inner, inner).map("|".join).map("(?:{})".format)
        | st.tuples(inner, st.sampled_from(["*", "+", "?", "*?", "{2}", "{1,2}", "{2,}"])).map(lambda p: f"(?:{p[0]}){p[1]}")
    ),
    max_leaves=8,
)
NAMES = st.text("ab.1A\n", max_size=8)


@settings(max_examples=400)
@given(EXPRESSIONS, NAMES)
def test_sets_of_positions_find_what_re_finds(expression: str, name: str) -> None:
    assert patterns._Bounded(patterns._parsed(expression)[0], expression).matches(name) == (
        re.fullmatch(expression, name) is not None
    )
    assert matcher(f"re:{expression}")(name) == (re.fullmatch(expression, name) is not None)


@given(st.text("ab*?[]!-.", max_size=8), NAMES)
def test_globs(glob: str, name: str) -> None:
    assume(not glob.startswith("re:"))
    assert matcher(glob)(name) == fnmatchcase(name, glob)


SLOW = (
    "(a+)+$", "(a*)*b", "(a|a)*b", "(a|aa)+$", "a*a*a*a*a*a*a*a*a*a*a*b", "(.*a){20}b", "((a?){30}){30}b", "(?:a{0,99}){99}b",
    "(.*)(.*)(.*)(.*)(.*)(.*)x", "(?=(a+)+b)a", "(x+x+)+y", "(([a-z])+.)+[A-Z]([a-z])+$", "(?:a?){500}a{500}",
)  # fmt: skip


@pytest.mark.parametrize("expression", SLOW)
@pytest.mark.parametrize("name", ["a" * 30, "a" * 300, "a" * 3000, "model.layers.11.self_attn.q_proj" * 4])
def test_no_pattern_hangs(expression: str, name: str) -> None:
    start = time.monotonic()
    try:
        assert not matcher(f"re:{expression}")(name) or re.fullmatch(expression, name)
    except FewbitsError as error:
        assert "steps" in str(error)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("pattern", "part"),
    [
        ("re:(", "no regular expression"),
        ("re:[", "no regular expression"),
        ("re:*", "no regular expression"),
        ("re:a{99999999999999999999}", "no regular expression"),
        ("re:a(?i)", "no regular expression"),
        ("re:[[a]", "no regular expression"),
        ("re:(?P<x>a)(?P<x>b)", "no regular expression"),
        ("re:" + "(" * 1500 + ")" * 400, "nested too deeply"),
        ("re:" + "(?:" * 600 + ")" * 600, "more than"),
        ("re:" + "a" * 3000, "more than"),
        (r"re:((a+)+)\1$", "back reference"),
        ("re:(?>(a+)+)+b", "atomic"),
        ("a" * 20_000, "more than"),
    ],
)
def test_what_is_refused_is_refused_in_one_line(pattern: str, part: str) -> None:
    with pytest.raises(FewbitsError) as error:
        matcher(pattern)("a")
    assert part in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 500
