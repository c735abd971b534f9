import pytest
from torch import nn

import fewbits
from fewbits.errors import FewbitsError
from fewbits.measure import size
from fewbits.plan import Rule
from fewbits.search.candidates import space_of
from fewbits.search.space import Space
from tests import tiny
from tests.search.tiny import CANDIDATES


@pytest.mark.parametrize("name", list(tiny.MODELS))
def test_bytes_of_a_plan_are_those_of_the_quantized_model(name: str) -> None:
    make, _ = tiny.MODELS[name]
    space = space_of(make(), CANDIDATES)
    assert space.nbytes(space.kept()) == size(make()).value
    for choice in (*(space.uniform(c) for c in CANDIDATES), mixed(space)):
        assert space.nbytes(choice) == size(fewbits.quantize(make(), space.plan(choice))).value


def mixed(space: Space) -> tuple[int, ...]:
    """Each layer another option, one of them kept."""
    return tuple(u % len(unit.options) for u, unit in enumerate(space.units))


def test_what_is_kept_by_default_is_searched_only_when_named() -> None:
    names = [name for unit in space_of(tiny.llama()).units for name in unit.layers]
    assert names and not [n for n in names if "embed" in n or "lm_head" in n]
    with_head = space_of(tiny.llama(tied=False), CANDIDATES, include=["lm_head"])
    assert "lm_head" in [name for unit in with_head.units for name in unit.layers]


def test_tied_layers_move_together_and_count_once() -> None:
    space = space_of(tiny.tied(), CANDIDATES)
    (unit,) = space.units
    assert unit.layers == ("first",) and unit.tied == ("second",) and unit.params == 32 * 32


def test_fused_layers_move_together() -> None:
    space = space_of(tiny.llama(), CANDIDATES, together=["*.self_attn.[qkv]_proj"])
    fused = [unit for unit in space.units if len(unit.layers) == 3]
    assert len(fused) == 2 and fused[0].name == "model.layers.0.self_attn.(q_proj|k_proj|v_proj)"
    plan = fewbits.plan_of(fewbits.quantize(tiny.llama(), space.plan(mixed(space))))
    assert plan is not None
    schemes = {d.name: d.scheme for d in plan.decisions}
    for unit in fused:
        assert len({schemes[name] for name in unit.layers}) == 1


def test_a_rule_fixes_layers() -> None:
    free = space_of(tiny.llama(), CANDIDATES)
    fixed = space_of(tiny.llama(), CANDIDATES, rules=[Rule.parse("*down_proj=rtn:int8"), Rule.parse("*gate_proj=keep")])
    assert len(fixed.units) == len(free.units) - 4
    choice = fixed.uniform(CANDIDATES[0])
    assert fixed.nbytes(choice) == size(fewbits.quantize(tiny.llama(), fixed.plan(choice))).value


def test_a_group_that_does_not_divide_takes_one_scale_a_channel_and_is_offered_once() -> None:
    space = space_of(nn.Sequential(nn.Linear(48, 8)), ["rtn:uint4g32", "rtn:uint4g64", "rtn:uint4g16"])
    (unit,) = space.units
    assert [str(option) for option in unit.options] == ["rtn:uint4", "rtn:uint4g16", "keep"]
    assert unit.option_of("rtn:uint4g64") == 0 and unit.option_of("rtn:uint4g16") == 1


@pytest.mark.parametrize(
    ("candidates", "how", "helps"),
    [
        ((), {}, "no candidates"),
        (("keep",), {}, "no candidates"),
        (("rtn:nf4g32",), {}, "rtn"),
        (("uint9g32",), {}, "no 9 bits"),
        (CANDIDATES, {"together": ["*.nothing"]}, "--together '*.nothing'"),
        (CANDIDATES, {"rules": [Rule.parse("*.nothing=int8")]}, "nothing"),
    ],
)
def test_refusals(candidates: tuple[str, ...], how: dict[str, list[object]], helps: str) -> None:
    with pytest.raises(FewbitsError, match=helps.replace("*", r"\*")):
        space_of(tiny.llama(), candidates, **how)  # type: ignore[arg-type]
