"""The CPU's step against the model's own."""

from collections.abc import Iterator

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Phi3Config, Phi3ForCausalLM

import fewbits
from fewbits.runtime import cpu
from fewbits.runtime.cache import cache_of
from fewbits.runtime.cpu.decoder import CpuDecoder, CpuStep, decoder
from fewbits.runtime.decode import PlainDecoder, decoder_for
from fewbits.runtime.sampling import Sampling
from fewbits.runtime.structure import recognise
from tests.measure.tiny import tiny_llama

MODELS = ("llama", "llama, fewer keys", "phi3", "gpt2")

needs_kernels = pytest.mark.skipif(not cpu.available(), reason=str(cpu.why_not()))


@pytest.fixture
def restore_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    """In the exact arithmetic: an activation between two codes of 8 bits may fall to either side."""
    torch.manual_seed(0)
    with torch.no_grad(), cpu.exact_activations():
        yield


def make(kind: str) -> torch.nn.Module:
    if kind == "gpt2":
        return GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=64, n_layer=2, n_head=4, n_positions=64)).eval()
    if kind == "phi3":
        sizes = {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 4}
        return Phi3ForCausalLM(
            Phi3Config(vocab_size=50, **sizes, num_key_value_heads=1, pad_token_id=0, sliding_window=None)
        ).eval()
    return tiny_llama(num_attention_heads=4, num_key_value_heads=2 if "fewer" in kind else 4)


def of(model: torch.nn.Module, ids: torch.Tensor, start: int) -> CpuStep:
    """The step of a model that has read `start` tokens."""
    step = CpuStep(recognise(model), model.config, ids.shape[1])
    cache = cache_of(model(ids[:, :start], use_cache=True))
    step.load_cache([(layer.keys, layer.values) for layer in cache.layers])
    return step


@pytest.mark.parametrize("scheme", [None, "uint4g32", "fp8"])
@pytest.mark.parametrize("kind", MODELS)
def test_logits_are_those_of_the_model(kind: str, scheme: str | None) -> None:
    model = make(kind)
    if scheme:
        fewbits.quantize(model, {"lm_head": scheme, "*": scheme}, on_misfit="channel")
    ids = torch.randint(model.config.vocab_size, (1, 9))
    want = model(ids).logits[0]
    step = of(model, ids, 4)
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


MIXED = {
    "*q_proj": "uint8g32",
    "*k_proj": "int4",
    "*v_proj": "uint3g64",
    "*": "uint4g32",
}  # activations are rounded differently


@needs_kernels
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("kind", "plan"),
    [*((kind, plan) for kind in MODELS for plan in ({"lm_head": "uint4g32", "*": "uint4g32"}, {"*": "nf4"})), ("llama", MIXED)],
)
def test_one_call_gives_what_the_operators_give(kind: str, plan: dict[str, str], threads: int, restore_threads: None) -> None:
    model = make(kind)
    for p in model.parameters():  # norms of ones and biases of zeros would hide what is left out
        p.add_(torch.randn_like(p) * 0.1)
    fewbits.quantize(model, plan, on_misfit="channel")
    ids = torch.randint(model.config.vocab_size, (1, 40))
    step = of(model, ids, 30)
    assert step.native is not None
    native = torch.cat([step(ids[0, at : at + 1], at) for at in range(30, 40)])
    step = of(model, ids, 30)
    step.native = None
    torch.set_num_threads(threads)
    want = torch.cat([step(ids[0, at : at + 1], at) for at in range(30, 40)])
    torch.testing.assert_close(native, want, atol=2e-5, rtol=1e-4)


@needs_kernels
def test_as_many_threads_as_there_are_change_nothing(restore_threads: None) -> None:
    model = make("llama, fewer keys")
    fewbits.quantize(model, {"*": "uint4g32"}, on_misfit="channel")
    ids, seen = torch.randint(40, (1, 9)), []
    for threads in range(1, 6):
        torch.set_num_threads(threads)
        step = of(model, ids, 8)
        seen.append(step(ids[0, 8:], 8))
    assert all(torch.equal(logits, seen[0]) for logits in seen)


@needs_kernels
def test_a_layer_without_a_kernel_leaves_the_step_to_the_operators() -> None:
    model = make("llama")
    fewbits.quantize(model, {"*1.mlp.down_proj": "keep", "*": "uint4g32"}, on_misfit="channel")
    assert of(model, torch.ones(1, 4, dtype=torch.long), 2).native is None
    model = make("llama")
    fewbits.quantize(model, {"*": "int8a8"})
    assert of(model, torch.ones(1, 4, dtype=torch.long), 2).native is None


@needs_kernels
def test_where_the_kernels_are_off_they_are_not_called() -> None:
    model = make("llama")
    fewbits.quantize(model, {"*": "uint4g32"}, on_misfit="channel")
    ids = torch.randint(40, (1, 5))
    step = of(model, ids, 4)
    step.native = lambda x, at: pytest.fail("called")  # type: ignore[assignment]
    with cpu.enabled(False):
        torch.testing.assert_close(step(ids[0, 4:], 4), model(ids).logits[0, 4:], atol=1e-4, rtol=1e-4)


def test_what_it_does_not_know_is_left_to_the_model() -> None:
    assert decoder(tiny_llama().bfloat16(), Sampling(), 8) is None
    windowed = tiny_llama()
    windowed.config.sliding_window = 4
    assert decoder(windowed, Sampling(), 5) is None
    assert decoder(windowed, Sampling(), 4) is not None  # what fits the window does not notice it
    assert isinstance(decoder_for(tiny_llama(), 2, 8, Sampling()), PlainDecoder)
