import time

import pytest
import torch
from torch import Tensor, nn

from fewbits.errors import FewbitsError
from fewbits.measure import Timing, generation, generations, latencies, latency, quantize_time, speed
from tests.measure.tiny import TinyLM, tiny_classifier, tiny_llama

PROMPT = torch.randint(64, (3, 10), generator=torch.Generator().manual_seed(0))


class Sleeps(nn.Module):
    """Takes 20 ms, and the first time 60 ms longer."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(0.02 if self.calls else 0.08)
        self.calls += 1
        return x


def test_latency_is_that_of_one_forward_after_warming_up() -> None:
    model = Sleeps()
    got = latency(model, torch.zeros(4, 3, 8, 8), Timing(repeats=3, warmup=2))
    assert model.calls == 5
    assert 0.02 <= got.value < 0.06
    assert got.parts["per_second"] == pytest.approx(4 / got.value)
    assert (got.name, got.unit, got.n) == ("latency", "s", 3)
    assert got.parts["min"] <= got.value <= got.parts["max"]
    assert len(got.parts["runs"]) == 3
    threads = torch.get_num_threads()
    assert got.protocol == f"one forward, batch 4 of 3x8x8, median of 3 runs after 2, {threads} threads, float32"


def test_the_first_run_counts_if_nothing_warms_up() -> None:
    assert latency(Sleeps(), torch.zeros(1), Timing(repeats=3, warmup=0)).parts["max"] >= 0.08


def test_latency_leaves_the_mode_alone() -> None:
    model = tiny_classifier().train()
    latency(model, torch.rand(2, 3, 4, 4), Timing(repeats=1))
    assert model.training
    assert model[1].num_batches_tracked == 0


class Notes(nn.Module):
    """Writes down its name when it is asked."""

    def __init__(self, name: str, book: list[str]) -> None:
        super().__init__()
        self.name, self.book = name, book

    def forward(self, x: Tensor) -> Tensor:
        self.book.append(self.name)
        return x


def test_models_take_turns_in_every_repeat() -> None:
    book: list[str] = []
    got = latencies([Notes("a", book), Notes("b", book)], [torch.zeros(2, 1)] * 2, Timing(repeats=2, warmup=1))
    assert book == ["a", "b"] * 3
    assert [m.n for m in got] == [2, 2]
    assert "median of 2 runs after 1, 2 models in turn, " in str(got[0].protocol)


def test_generations_are_those_of_one_model_each() -> None:
    short, long = tiny_llama(), tiny_llama(num_hidden_layers=12)
    got = generations([short, long], [PROMPT, PROMPT[:1]], new_tokens=3, timing=Timing(repeats=3))
    assert got[0].generate_time.value < got[1].generate_time.value
    assert [("batch 3" in str(g.decode_speed.protocol)) for g in got] == [True, False]
    assert "2 models in turn" in str(got[1].prefill_speed.protocol)


def test_what_is_timed_is_what_transformers_generates() -> None:
    model = tiny_llama()
    expected = model.generate(PROMPT, do_sample=False, max_new_tokens=12, pad_token_id=0)[:, 10:]
    assert speed.generate(model, PROMPT, 12).tokens.equal(expected)


def test_each_new_token_costs_one_forward_of_one_token() -> None:
    model, seen = tiny_llama(), []
    model.register_forward_pre_hook(lambda _, args, options: seen.append(tuple(options["input_ids"].shape)), with_kwargs=True)
    speed.generate(model, PROMPT, 5)
    assert seen == [(3, 10), (3, 1), (3, 1), (3, 1), (3, 1)]


def test_an_eos_does_not_end_it() -> None:
    model = tiny_llama()
    first = int(speed.generate(model, PROMPT, 2).tokens[0, 0])
    model.generation_config.eos_token_id = first
    assert speed.generate(model, PROMPT, 6).tokens.shape == (3, 6)


def test_speeds_and_time_are_of_the_same_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = iter([speed.Run(tokens=PROMPT, prefill=p, decode=d) for p, d in [(9.0, 9.0), (1.0, 8.0), (2.0, 16.0), (0.5, 4.0)]])
    monkeypatch.setattr(speed, "generate", lambda *_: next(runs))
    got = generation(tiny_llama(), PROMPT, new_tokens=9, timing=Timing(repeats=3, warmup=1))
    assert got.generate_time.parts["runs"] == [9.0, 18.0, 4.5]
    assert (got.generate_time.value, got.generate_time.unit) == (9.0, "s")
    assert (got.prefill_speed.value, got.prefill_speed.unit) == (30.0, "tokens/s")  # 3 prompts of 10 in 1 s
    assert (got.decode_speed.value, got.decode_speed.unit) == (3.0, "tokens/s")  # 3 times 8 tokens in 8 s
    assert got.decode_speed.parts == {"min": 1.5, "max": 6.0, "mean": 3.5, "runs": [3.0, 1.5, 6.0]}
    assert [m.name for m in vars(got).values()] == ["generate_time", "prefill_speed", "decode_speed"]
    threads = torch.get_num_threads()
    assert got.decode_speed.protocol == (
        f"prompt 10, new 9, batch 3, greedy, KV cache, median of 3 runs after 1, {threads} threads, float32"
    )


@pytest.mark.parametrize(
    ("model", "tokens", "message"),
    [
        (tiny_llama, 1, "from 2 new tokens on, not 1"),
        (tiny_llama, 60, "prompt and new tokens of 70 tokens: LlamaForCausalLM has 64 positions"),
    ],
)
def test_what_cannot_be_generated_is_refused(model: type, tokens: int, message: str) -> None:
    with pytest.raises(FewbitsError, match=message):
        generation(model(), PROMPT, new_tokens=tokens)


def test_a_model_without_a_cache_is_refused() -> None:
    with pytest.raises(FewbitsError, match="TinyLM keeps no KV cache"):
        generation(TinyLM(), PROMPT % 13, new_tokens=4)


def test_senseless_timings_are_refused() -> None:
    with pytest.raises(FewbitsError, match="at least 1 repeat"):
        Timing(repeats=0)


def test_quantize_time_gives_back_what_was_made() -> None:
    result, measure = quantize_time(lambda: time.sleep(0.02) or "made")
    assert result == "made"
    assert 0.02 <= measure.value < 2
    assert (measure.name, measure.unit) == ("quantize_time", "s")


def test_why_a_model_is_not_timed() -> None:
    from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

    model = OpenAIGPTLMHeadModel(OpenAIGPTConfig(n_embd=32, n_layer=1, n_head=2, vocab_size=64, n_positions=64)).eval()
    assert speed.why_not_timed(model, PROMPT[:1], 4) == "OpenAIGPTLMHeadModel keeps no KV cache"
    assert speed.why_not_timed(tiny_llama(), PROMPT[:1], 4) is None
