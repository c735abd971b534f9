"""Decoders: which one is taken, what a padded prompt may look at, and that sampling repeats."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

import fewbits
from fewbits.runtime.decode import Decoder, FusedDecoder, PlainDecoder, decoder_for, is_fused, why_not_fused
from fewbits.runtime.graph import causal_mask
from fewbits.runtime.sampling import Sampling
from tests import tiny


@pytest.fixture(scope="module")
def model() -> Any:
    return fewbits.quantize(tiny.llama(), "uint4g32")


def test_without_a_gpu_the_models_own_step_is_used(model: Any) -> None:
    decoder = decoder_for(model, 2, 20, Sampling())
    assert isinstance(decoder, PlainDecoder)
    assert isinstance(decoder, Decoder)


def test_why_not_fused_names_the_reason(model: Any) -> None:
    if not torch.cuda.is_available():
        assert why_not_fused(model) == "no CUDA device"
    model.config.logit_scale = 2.0
    assert why_not_fused(model) == "it sets logit_scale"
    del model.config.logit_scale


def test_a_step_after_the_cache_is_a_step_without(model: Any) -> None:
    ids = tiny.tokens(2, 6)
    made = torch.cat(list(PlainDecoder(model, Sampling()).tokens(ids, None, 4)), dim=1)
    whole = ids
    with torch.inference_mode():
        for at in range(4):
            whole = torch.cat([whole, model(whole).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
            assert torch.equal(made[:, at], whole[:, -1])


def test_a_prompt_looks_back_but_not_at_padding() -> None:
    mask = causal_mask(torch.tensor([[0, 1, 1], [1, 1, 1]]), 5, torch.float32)
    may = (mask == 0)[:, 0].tolist()
    assert may[0] == [[True, False, False, False, False], [False, True, False, False, False], [False, True, True, False, False]]
    assert may[1][2] == [True, True, True, False, False]


class _Engine:
    """What FusedDecoder asks of an engine; the next token is the one before plus one."""

    def __init__(self) -> None:
        self.tokens = torch.zeros(64, dtype=torch.int32)
        self.calls: list[tuple[int, int, float, int, bool]] = []
        self.logits = torch.zeros(tiny.VOCABULARY)
        self.prompts: list[int] = []

    def read(self, ids: torch.Tensor) -> torch.Tensor:
        self.prompts.append(ids.shape[1])
        return torch.zeros(1, tiny.VOCABULARY).index_fill(1, torch.tensor([3]), 1e3)

    def decode(self, start: int, steps: int, *, temperature: float, seed: int, logits: bool) -> None:
        self.calls.append((start, steps, temperature, seed, logits))
        for at in range(start, start + steps):
            self.tokens[at + 1] = self.tokens[at] + 1
        self.logits = torch.zeros(tiny.VOCABULARY).index_fill(0, torch.tensor([7]), 1e3)


def test_bursts_follow_one_another(model: Any) -> None:
    engine, ids = _Engine(), tiny.tokens(1, 5)
    pieces = list(FusedDecoder(model, engine, Sampling(), 3).tokens(ids, None, 8))
    assert [p.shape[1] for p in pieces] == [1, 3, 3, 1]
    assert [call[:2] for call in engine.calls] == [(5, 3), (8, 3), (11, 1)]
    assert engine.prompts == [5]
    assert torch.equal(torch.cat(pieces, dim=1)[0], 3 + torch.arange(8))


def test_what_a_window_would_cut_is_not_fused(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = SimpleNamespace(max_len=256)
    monkeypatch.setattr("fewbits.runtime.step.StepEngine", lambda *_, **__: made)
    monkeypatch.setattr("fewbits.runtime.verify.engine_differs", lambda *_: None)
    monkeypatch.setattr("fewbits.runtime.fused.is_on_gpu", lambda _: True)
    monkeypatch.setattr(model.config, "sliding_window", 4, raising=False)
    assert is_fused(model, 4) and not is_fused(model, 5)


def test_cut_draws_are_made_from_the_logits_one_by_one(model: Any) -> None:
    engine = _Engine()
    sampling = Sampling(temperature=0.5, top_k=3, seed=4)
    pieces = list(FusedDecoder(model, engine, sampling, 16).tokens(tiny.tokens(1, 5), None, 4))
    assert [p.shape[1] for p in pieces] == [1, 1, 1, 1]
    assert engine.calls[0] == (5, 1, 0.5, 4, True)
    assert [int(p) for p in pieces[1:]] == [7, 7, 7]
