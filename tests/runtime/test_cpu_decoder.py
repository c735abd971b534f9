"""The CPU's step against the model's own."""

from collections.abc import Iterator

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import fewbits
from fewbits.runtime import cpu
from fewbits.runtime.cpu.decoder import CpuDecoder, CpuStep, decoder
from fewbits.runtime.decode import PlainDecoder, decoder_for
from fewbits.runtime.sampling import Sampling
from fewbits.runtime.structure import recognise
from tests.measure.tiny import tiny_llama

MODELS = ("llama", "llama, fewer keys", "gpt2")


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    """In the exact arithmetic: an activation between two codes of 8 bits may fall to either side."""
    torch.manual_seed(0)
    with torch.no_grad(), cpu.exact_activations():
        yield


def make(kind: str) -> torch.nn.Module:
    if kind == "gpt2":
        return GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=64, n_layer=2, n_head=4, n_positions=64)).eval()
    return tiny_llama(num_attention_heads=4, num_key_value_heads=2 if "fewer" in kind else 4)


@pytest.mark.parametrize("scheme", [None, "uint4g32", "fp8"])
@pytest.mark.parametrize("kind", MODELS)
def test_logits_are_those_of_the_model(kind: str, scheme: str | None) -> None:
    model = make(kind)
    if scheme:
        fewbits.quantize(model, {"lm_head": scheme, "*": scheme}, on_misfit="channel")
    ids = torch.randint(model.config.vocab_size, (1, 9))
    want = model(ids).logits[0]
    step = CpuStep(recognise(model), model.config, 9)
    cache = model(ids[:, :4], use_cache=True).past_key_values
    step.load_cache([(layer.keys, layer.values) for layer in cache.layers])
    for at in range(4, 9):
        torch.testing.assert_close(step(ids[0, at : at + 1], at)[0], want[at], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", MODELS)
def test_tokens_are_those_of_the_plain_decoder(kind: str) -> None:
    model, ids = make(kind), torch.randint(40, (1, 5))
    for sampling in (Sampling(), Sampling(temperature=0.9, top_k=10, seed=3)):
        decode = decoder_for(model, 1, 17, sampling)
        assert isinstance(decode, CpuDecoder)
        made = torch.cat(list(decode.tokens(ids, None, 12)), dim=1)
        assert torch.equal(made, torch.cat(list(PlainDecoder(model, sampling).tokens(ids, None, 12)), dim=1))


def test_what_it_does_not_know_is_left_to_the_model() -> None:
    assert decoder(tiny_llama().bfloat16(), Sampling(), 8) is None
    windowed = tiny_llama()
    windowed.config.sliding_window = 4
    assert decoder(windowed, Sampling(), 8) is None
    assert isinstance(decoder_for(tiny_llama(), 2, 8, Sampling()), PlainDecoder)
