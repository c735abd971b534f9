"""A generation with the model's own forward: its protocol, refusals, and models that are no transformers' models."""

import copy
from typing import Any

import pytest
import torch

import fewbits
from fewbits.errors import FewbitsError
from fewbits.runtime.bounds import positions_of
from fewbits.runtime.decode import PlainDecoder, decoder_for
from fewbits.runtime.graph import suits_graph
from fewbits.runtime.sampling import Sampling
from fewbits.runtime.session import Session
from tests import tiny
from tests.measure.tiny import TinyLM
from tests.runtime import zoo

pytestmark = pytest.mark.filterwarnings("ignore")  # what transformers' models say of themselves


def test_the_short_step_has_the_inputs_of_the_protocol() -> None:
    model, seen = tiny.llama(), []
    model.register_forward_pre_hook(lambda _, args, options: seen.append(options), with_kwargs=True)
    session = Session(model, tiny.tokens(2, 6), torch.tensor([[0, 0, 1, 1, 1, 1], [1] * 6]), 4)
    token = session.prefill().argmax(-1)
    assert session.is_plain
    session.ids = torch.cat([session.ids, token[:, None]], dim=1)
    with torch.no_grad():
        session._protocol()
    own = seen[-1]
    session.step(token)
    short = seen[-1]
    assert {name for name, value in own.items() if value is not None} - {"cache_position"} == {
        n for n, v in short.items() if v is not None
    }
    for name in ("input_ids", "position_ids", "attention_mask"):
        assert torch.equal(own[name], short[name]), name


def test_a_model_of_no_library_is_called_with_the_whole_sequence() -> None:
    model = TinyLM()
    made = fewbits.generate(model, [5, 6, 7], max_new_tokens=6, stop=())
    whole = torch.tensor([[5, 6, 7]])
    for _ in range(6):
        whole = torch.cat([whole, model(whole)[:, -1].argmax(-1, keepdim=True)], dim=1)
    assert torch.equal(made, whole[0, 3:])
    both = fewbits.generate(model, [[5, 6, 7], [5]], max_new_tokens=3, stop=())
    assert torch.equal(both[1], fewbits.generate(model, [5], max_new_tokens=3, stop=()))


def test_encoder_decoders_are_refused_by_name() -> None:
    from transformers import BartConfig, BartForCausalLM, BartForConditionalGeneration

    sizes = {
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "vocab_size": 64,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
    }
    config = BartConfig(**sizes, encoder_attention_heads=2, decoder_attention_heads=2, max_position_embeddings=64)
    with pytest.raises(FewbitsError, match="BartForConditionalGeneration is an encoder-decoder"):
        fewbits.generate(BartForConditionalGeneration(config).eval(), [5, 6])
    decoder = BartForCausalLM(copy.deepcopy(config)).eval()
    assert len(fewbits.generate(decoder, [5, 6], max_new_tokens=3, stop=())) == 3
    decoder.config.architectures = ["BartForConditionalGeneration"]
    with pytest.raises(FewbitsError, match="decoder of BartForConditionalGeneration"):
        fewbits.generate(decoder, [5, 6])


def test_a_failing_forward_is_one_line() -> None:
    model = tiny.llama()
    model.model.layers[1].mlp.forward = lambda _: torch.zeros(3, 7)  # type: ignore[method-assign]
    with pytest.raises(FewbitsError, match="LlamaForCausalLM cannot generate: RuntimeError") as caught:
        next(PlainDecoder(model, Sampling()).tokens(tiny.tokens(1, 4), None, 2))
    assert "\n" not in str(caught.value)


def test_nan_is_refused() -> None:
    model = tiny.gpt2()
    with torch.no_grad():
        model.transformer.wte.weight.fill_(torch.nan)
    for batch in (1, 2):
        with pytest.raises(FewbitsError, match="NaN"):
            fewbits.generate(model, tiny.tokens(batch, 4), max_new_tokens=2)


@pytest.mark.parametrize(
    ("name", "positions"),
    [("gpt2", 128), ("opt", 128), ("gptj", 128), ("bart", 128), ("mpt", 128), ("llama", None), ("bloom", None)],
)
def test_positions_in_a_table_are_counted_before_the_work(name: str, positions: int | None) -> None:
    model = zoo.build(name)
    assert positions_of(model) == positions
    if positions is None:
        assert len(fewbits.generate(model, zoo.prompts(1, 130), max_new_tokens=2, stop=())[0]) == 2
        return
    assert fewbits.generate(model, zoo.prompts(1, positions - 1), max_new_tokens=2, stop=()).shape == (1, 2)
    with pytest.raises(FewbitsError, match=r"127 tokens and 3 new ones: .* has 128 positions: max_new_tokens 2 at most"):
        fewbits.generate(model, zoo.prompts(1, positions - 1), max_new_tokens=3)
    with pytest.raises(FewbitsError, match=r"a prompt of 129 tokens: .* has 128 positions: shorten it"):
        fewbits.generate(model, zoo.prompts(1, positions + 1), max_new_tokens=1)


@pytest.mark.parametrize("batch", [1, 2])
def test_penalties_of_the_models_settings_apply(batch: int) -> None:
    model = tiny.llama()
    model.generation_config.repetition_penalty = 1.7
    model.generation_config.suppress_tokens = [5, 7]
    model.generation_config.eos_token_id = None
    ids = tiny.tokens(batch, 5)
    want = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)[:, 5:]
    assert torch.equal(fewbits.generate(model, ids, max_new_tokens=12), want)
    model.generation_config.repetition_penalty = 1.0
    model.generation_config.suppress_tokens = None
    assert not torch.equal(fewbits.generate(model, ids, max_new_tokens=12), want)


def test_rotary_frequencies_of_an_earlier_sequence_are_forgotten() -> None:
    model = zoo.build("llama dynamic")
    ids = zoo.prompts(1, 20)
    first = [Session(model, ids, None, 2).prefill()]
    Session(model, zoo.prompts(1, 90), None, 2).prefill()
    assert torch.equal(Session(model, ids, None, 2).prefill(), first[0])


def test_a_recurrent_model_continues_each_row_as_alone() -> None:
    model = zoo.build("rwkv")  # ignores the attention mask
    both = fewbits.generate(model, [[5, 6, 7, 8, 9], [9, 8]], max_new_tokens=5, stop=())
    assert torch.equal(both[1], fewbits.generate(model, [9, 8], max_new_tokens=5, stop=()))


def test_very_long_sequences_do_not_reserve_their_cache() -> None:
    assert isinstance(decoder_for(tiny.llama(), 1, 10**9, Sampling()), PlainDecoder)


def test_the_recorded_step_is_for_full_attention_alone() -> None:
    for name in ("falcon alibi", "mamba", "mistral", "llama dynamic", "bloom", "mpt"):
        assert not suits_graph(zoo.build(name)), name


class TinyLMWithTable(TinyLM):
    def get_input_embeddings(self) -> Any:
        return self.embed


def test_an_unknown_token_is_named() -> None:
    with pytest.raises(FewbitsError, match="token 13 is outside the model's vocabulary of 13"):
        fewbits.generate(TinyLMWithTable(), [13])
