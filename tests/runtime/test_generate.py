"""Generation on the CPU: the tokens of transformers' own, stops, padding, sampling."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import fewbits
from fewbits.errors import FewbitsError
from fewbits.runtime.generate import generate, stream
from fewbits.runtime.sampling import Sampling


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=100
    )
    return fewbits.quantize(LlamaForCausalLM(config).eval(), "uint4g32")  # type: ignore[return-value]


def test_greedy_gives_the_tokens_of_transformers(model: LlamaForCausalLM) -> None:
    ids = torch.randint(3, 100, (2, 7))
    want = model.generate(ids, max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0)[:, 7:]
    assert torch.equal(generate(model, ids, max_new_tokens=12, stop=()), want)


def test_a_padded_row_continues_as_it_does_alone(model: LlamaForCausalLM) -> None:
    both = generate(model, [[5, 6, 7, 8], [5, 6]], max_new_tokens=5, stop=())
    assert torch.equal(both[1], generate(model, [5, 6], max_new_tokens=5, stop=()))


def test_a_stop_token_ends_the_sequence(model: LlamaForCausalLM) -> None:
    free = generate(model, [5, 6, 9], max_new_tokens=9, stop=())
    stop = int(free[4])
    first = free.tolist().index(stop)
    assert torch.equal(generate(model, [5, 6, 9], max_new_tokens=9, stop=(stop,)), free[: first + 1])


def test_pieces_make_the_whole(model: LlamaForCausalLM) -> None:
    whole = generate(model, [5, 6, 9], max_new_tokens=6, stop=())
    assert torch.equal(torch.cat(list(stream(model, [5, 6, 9], max_new_tokens=6, stop=()))), whole)


def test_one_likeliest_token_is_greedy_and_a_seed_repeats(model: LlamaForCausalLM) -> None:
    greedy = generate(model, [5, 6], max_new_tokens=6, stop=())
    assert torch.equal(generate(model, [5, 6], max_new_tokens=6, temperature=2.0, top_k=1, stop=()), greedy)
    drawn = [generate(model, [5, 6], max_new_tokens=20, temperature=2.0, seed=s, stop=()) for s in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_top_p_keeps_what_reaches_it() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    sampling = Sampling(temperature=1.0, top_p=0.7)
    generator = torch.Generator().manual_seed(0)
    assert {int(sampling.choose(logits, generator)) for _ in range(100)} == {0, 1}


@pytest.mark.parametrize(
    ("prompt", "settings", "says"),
    [
        ("text", {}, "tokenizer"),
        ([], {}, "no tokens"),
        ([1], {"temperature": -1.0}, "temperature"),
        ([1], {"top_p": 0.0}, "top_p"),
    ],
)
def test_bad_input_is_refused(model: LlamaForCausalLM, prompt: object, settings: dict, says: str) -> None:
    with pytest.raises(FewbitsError, match=says):
        generate(model, prompt, **settings)  # type: ignore[arg-type]


def test_the_name_of_a_model_is_no_model() -> None:
    with pytest.raises(FewbitsError, match="'demo' is no model"):
        generate("demo", [5], max_new_tokens=1)
