"""Schemes: a method and a format, and how the two are named together."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewbits import methods
from fewbits.errors import FewbitsError
from fewbits.formats import Format
from fewbits.scheme import Scheme, parse_target
from tests.strategies import formats


@pytest.mark.parametrize(
    ("text", "method", "prints"),
    [
        ("hqq:uint4g64", "hqq", "hqq:uint4g64"),
        ("rtn:int8", "rtn", "rtn:int8"),
        ("rtn:int8a8", "rtn", "rtn:int8a8"),
        ("nf4g64/q8", "absmax", "nf4g64/q8"),
        ("absmax:nf4g64/q8", "absmax", "nf4g64/q8"),
        ("fp8", "absmax", "fp8"),
        ("rtn:uint4g64z", "rtn", "rtn:uint4g64z"),
        ("hqq:uint8g64", "hqq", "hqq:uint8g64"),
        ("mse:nf4", "mse", "mse:nf4"),
        ("uint3g32z", "rtn", "rtn:uint3g32z"),  # the default method of uint and int
        ("int8", "rtn", "rtn:int8"),
        ("  rtn:int8 \n", "rtn", "rtn:int8"),
    ],
)
def test_a_scheme_prints_back_as_it_parses(text: str, method: str, prints: str) -> None:
    scheme = Scheme.parse(text)
    assert scheme.method == method
    assert str(scheme) == prints
    assert Scheme.parse(prints) == scheme


@given(st.sampled_from(["absmax", "hqq", "mse", "rtn"]), formats())
def test_every_scheme_prints_and_parses_back(method: str, format: Format) -> None:
    scheme = Scheme(method=method, format=format)
    assert Scheme.parse(str(scheme)) == scheme


@given(st.text(alphabet=st.sampled_from("uintfphqqrt:0123468gzo/a ") | st.characters()))
def test_garbage_is_refused(text: str) -> None:
    try:
        scheme = Scheme.parse(text)
    except FewbitsError:
        return
    assert Scheme.parse(str(scheme)) == scheme


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gptx:uint4", "unknown method 'gptx' in scheme 'gptx:uint4': one of absmax"),
        (":uint4", "unknown method ''"),
        ("base:uint4", "unknown method 'base'"),
        ("_affine:uint4", "unknown method '_affine'"),
        ("rtn:hqq:uint4", "unknown method 'rtn:hqq'"),
        ("rtn:", "unknown format ''"),
        ("rtn: int8", "unknown format ' int8'"),
        ("keep", "unknown format 'keep'"),
    ],
)
def test_what_is_unknown_is_named(text: str, says: str) -> None:
    with pytest.raises(FewbitsError, match=re.escape(says)):
        Scheme.parse(text)


def test_keep_is_a_target_and_no_scheme() -> None:
    assert parse_target("keep") is None
    assert parse_target(" keep ") is None
    assert parse_target("nf4") == Scheme.parse("nf4")
    with pytest.raises(FewbitsError):
        parse_target("Keep")


def test_every_file_of_methods_is_a_method() -> None:
    assert set(methods.names()) >= {"absmax", "hqq", "mse", "rtn"}
    for name in methods.names():
        assert methods.get(name).name() == name
    with pytest.raises(FewbitsError, match="unknown method 'nope': one of absmax"):
        methods.get("nope")


@pytest.mark.parametrize(("text", "kinds"), [("rtn:nf4", "uint, int"), ("absmax:uint4", "nf, fp")])
def test_a_method_refuses_what_it_cannot_make(text: str, kinds: str) -> None:
    method, _, name = text.partition(":")
    with pytest.raises(FewbitsError, match=f"{method} cannot make {name}: it makes {kinds}"):
        Scheme.parse(text).quantize(torch.randn(4, 8))


def test_quantize_makes_the_format_that_was_asked_for() -> None:
    tensor = Scheme.parse("uint4g4").quantize(torch.randn(4, 8))
    assert tensor.format == Format.parse("uint4g4")
    assert tensor.shape == (4, 8)
