import re

import pytest

from fewbits.apply import resolve
from fewbits.errors import FewbitsError
from fewbits.plan import Plan
from fewbits.study.blocks import Blocks, blocks_of
from tests import tiny

NAMES = ["embed", *(f"model.layers.{i}.{part}" for i in range(8) for part in ("attn.q", "mlp.up")), "head"]


def bits(blocks: Blocks) -> list[str]:
    return [scheme for _, scheme in blocks.rules(NAMES)]


def test_bits_by_place() -> None:
    assert bits(Blocks(scheme="{bits}", places=(("first 2", 8), ("rest", 4)))) == list("88444444")
    assert bits(Blocks(scheme="{bits}", places=(("first quarter", 8), ("last quarter", 6), ("rest", 4)))) == list("88444466")
    assert bits(Blocks(scheme="{bits}", places=(("last 1", 2), ("rest", 4)))) == list("44444442")
    assert bits(Blocks(scheme="{bits}", each=tuple(range(1, 9)))) == list("12345678")


def test_the_rules_reach_exactly_their_blocks() -> None:
    model = tiny.gpt2()
    rules = Blocks(scheme="uint{bits}", places=(("first 1", 8), ("rest", 4))).rules(n for n, _ in model.named_modules())
    plan = resolve(model, Plan.of(dict(rules)))
    schemes = {d.name: str(d.scheme) for d in plan.decisions if d.scheme}
    assert len(schemes) == 8
    assert all(scheme == ("rtn:uint8" if ".h.0." in name else "rtn:uint4") for name, scheme in schemes.items())


def test_what_does_not_fit() -> None:
    with pytest.raises(FewbitsError, match="for 3 blocks, the model has 8"):
        bits(Blocks(scheme="{bits}", each=(1, 2, 3)))
    with pytest.raises(FewbitsError, match="'frist 2' is no place"):
        Blocks(scheme="{bits}", places=(("frist 2", 8),))
    with pytest.raises(FewbitsError, match="block 2 of 8 has no bits: add 'rest'"):
        bits(Blocks(scheme="{bits}", places=(("first 2", 8),)))
    with pytest.raises(FewbitsError, match="no numbered blocks"):
        blocks_of(["a.b", "c"])


@pytest.mark.parametrize(
    ("places", "part"),
    [
        ((("first 2", 8), ("last 2", 4), ("rest", 3)), "block 1 of 3 has 8 bits by 'first 2' and 4 by 'last 2'"),
        ((("first half", 4), ("first 1", 8), ("rest", 3)), "block 0 of 3"),
        ((("first 5", 4), ("rest", 3)), "'first 5': the model has 3 blocks"),
        ((("first 1", 4),), "no bits: add 'rest'"),
    ],
)
def test_places_that_contradict_each_other_or_the_model(places: tuple[tuple[str, int], ...], part: str) -> None:
    layers = [f"model.layers.{i}.mlp" for i in range(3)]
    with pytest.raises(FewbitsError, match=re.escape(part)):
        Blocks(scheme="uint{bits}", places=places).rules(layers)


def test_bits_that_go_nowhere_are_refused() -> None:
    for scheme, each in (("uint4", (2,)), ("uint{bits}", ())):
        with pytest.raises(FewbitsError):
            Blocks(scheme=scheme, each=each)
