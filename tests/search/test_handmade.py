from fewbits.search.candidates import space_of
from fewbits.search.handmade import handmade_plans, uniform_plans
from tests import tiny
from tests.search.tiny import CANDIDATES


def four_blocks() -> object:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=2, vocab_size=64, num_key_value_heads=2
    )
    return LlamaForCausalLM(config)


def test_by_block() -> None:
    space = space_of(four_blocks(), CANDIDATES)  # type: ignore[arg-type]
    plans = handmade_plans(space)
    eight = plans["8 bits in the first two blocks, 2 after"]
    finer = plans["4 bits in the first and last quarter, 2 between"]
    for unit, a, b in zip(space.units, eight, finer, strict=True):
        block = int(unit.name.split(".")[2])
        assert str(unit.options[a]) == CANDIDATES[2 if block < 2 else 0]
        assert str(unit.options[b]) == CANDIDATES[1 if block in (0, 3) else 0]


def test_too_few_blocks_have_no_quarters() -> None:
    assert handmade_plans(space_of(tiny.llama(), CANDIDATES)) == {}


def test_uniform() -> None:
    space = space_of(tiny.llama(), CANDIDATES)
    plans = uniform_plans(space)
    assert list(plans) == list(CANDIDATES)
    assert {str(u.options[c]) for u, c in zip(space.units, plans[CANDIDATES[1]], strict=True)} == {CANDIDATES[1]}
