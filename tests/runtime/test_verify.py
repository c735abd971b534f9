"""A decoder's logits are held against the model's own forward; weights, sizes and token ids that do not fit are noticed."""

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.models.llama import modeling_llama

import fewbits
from fewbits.runtime import cpu, fused, verify
from fewbits.runtime.cpu.decoder import CpuDecoder
from fewbits.runtime.cpu.linear import exactly
from fewbits.runtime.decode import PlainDecoder, why_not_fused
from tests import tiny
from tests.runtime.changed import decoder, llama, own_tokens, tokens, wide


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    with cpu.exact_activations():
        yield


def interleaved(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1) -> tuple[Tensor, Tensor]:
    """As Helium, ERNIE 4.5 and GLM turn their heads."""

    def turned(x: Tensor) -> Tensor:
        half = cos.shape[-1] // 2
        c, s = (t[..., :half].repeat_interleave(2, -1).unsqueeze(unsqueeze_dim) for t in (cos, sin))
        return x * c + torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2) * s

    return turned(q), turned(k)


def unturned(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1) -> tuple[Tensor, Tensor]:
    """As SmolLM3 does in one of four layers."""
    return q, k


def tempered(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1) -> tuple[Tensor, Tensor]:
    """As Llama 4 does, from another position on."""
    q, k = APPLY(q, k, cos, sin)
    return q * (1 + 0.1 * torch.arange(q.shape[-2])[:, None]), k


APPLY = modeling_llama.apply_rotary_pos_emb


@pytest.mark.parametrize("scheme", [None, "uint4g32", "int8a8"])
@pytest.mark.parametrize("function", [interleaved, unturned, tempered])
def test_other_logits_are_found_by_comparison(monkeypatch: pytest.MonkeyPatch, function: Any, scheme: str | None) -> None:
    model = llama()
    if scheme:
        fewbits.quantize(model, scheme)
    with monkeypatch.context() as patch:
        patch.setattr(modeling_llama, "apply_rotary_pos_emb", function)
        assert isinstance(decoder(model), PlainDecoder)
        assert "logits differ from those of the model's own forward" in str(why_not_fused(model))


def test_logits_that_are_not_numbers_are_left_to_the_model() -> None:
    model = llama()
    with torch.no_grad():
        model.lm_head.weight[3, 4] = float("nan")
    assert isinstance(decoder(model), PlainDecoder)


def test_any_exception_means_not_recognised() -> None:
    model = llama()
    del model.model.layers[1].self_attn.scaling
    assert isinstance(decoder(model), PlainDecoder)
    assert "AttributeError" in str(why_not_fused(model))


def test_a_forward_that_fails_is_left_to_fail_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    model = llama()
    monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", lambda *args, **kwargs: 1 / 0)
    assert isinstance(decoder(model), PlainDecoder)
    assert "ZeroDivisionError" in str(why_not_fused(model))


@pytest.mark.parametrize("errors", [[1e-6], [0.02, 1e-6], [0.02, 0.02]])
def test_exact_activations_are_compared_only_if_rounded_ones_differ(
    errors: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    exact: list[bool] = []
    left = list(errors)
    monkeypatch.setattr(verify, "difference", lambda own, other: exact.append(exactly()) or left.pop(0))
    with cpu.exact_activations(False):
        assert isinstance(decoder(llama()), CpuDecoder) == (errors[-1] < 1e-3)
    assert exact == [False, True][: len(errors)]


def test_the_comparison_is_made_once() -> None:
    model, calls = llama(), []
    inner = modeling_llama.LlamaModel.forward
    first = decoder(model)
    assert isinstance(first, CpuDecoder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "verdict", lambda *_: calls.append(1))
        assert isinstance(decoder(model, 40), CpuDecoder)
    assert calls == [] and modeling_llama.LlamaModel.forward is inner


@pytest.mark.parametrize(("own", "limit"), [(torch.float32, 1e-3), (torch.float16, 2e-2), (torch.bfloat16, 0.1)])
def test_the_difference_is_relative_and_ignores_what_softmax_does(own: torch.dtype, limit: float) -> None:
    logits = torch.randn(3, 100)
    assert verify.difference(logits, logits + 7) < 1e-6
    assert verify.difference(logits, logits * 1.01) == pytest.approx(0.01, rel=1e-3)
    one = logits.clone()
    one[2] *= 1.5
    assert verify.difference(logits, one) == pytest.approx(0.5, rel=1e-3)
    assert verify.difference(logits, logits[:2]) == verify.difference(logits, logits * float("nan")) == float("inf")
    assert verify.difference(logits * 0, logits * 0) == 0
    assert verify.TOLERANCE[own] == limit


# ---- weights that change ----


def test_weights_changed_in_place_give_their_own_text() -> None:
    model = fewbits.quantize(llama(), {"lm_head": "uint4g32", "*": "uint4g32"})
    other = wide(tiny.llama(tied=False))
    with torch.no_grad():
        for p in other.parameters():
            p.copy_(p.flip(0))
    other = fewbits.quantize(other, {"lm_head": "uint4g32", "*": "uint4g32"})
    first = tokens(model)
    model.load_state_dict(other.state_dict())
    assert torch.equal(tokens(model), own_tokens(other))
    assert not torch.equal(tokens(model), first)


def test_a_model_that_is_quantized_later_gives_its_own_text() -> None:
    model = llama()
    tokens(model)
    fewbits.quantize(model, "uint2g32")
    assert torch.equal(tokens(model), own_tokens(model))


def test_another_dtype_is_left_to_the_model() -> None:
    model = llama()
    assert isinstance(decoder(model), CpuDecoder)
    model.to(torch.bfloat16)
    assert isinstance(decoder(model), PlainDecoder)
    model.to(torch.float32)
    model.model.norm.to(torch.bfloat16)
    assert isinstance(decoder(model), PlainDecoder)


def test_copies_and_pickles_have_no_memory_of_the_original() -> None:
    model = llama()
    want = tokens(model)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.__dict__[fused._MEMORY] is None
        assert torch.equal(tokens(other), want)


# ---- sizes and ids ----


@pytest.mark.parametrize("bad", [-1, 96, 2**40])
def test_tokens_outside_the_vocabulary_are_an_error(bad: int) -> None:
    model = llama()
    ids = torch.tensor([[3, bad, 5]])
    with pytest.raises(fewbits.FewbitsError, match=f"token {bad} is outside the model's vocabulary of 96"):
        next(decoder(model).tokens(ids, None, 4))


def test_learned_positions_end_the_fused_step() -> None:
    model: Any = tiny.gpt2()
    assert isinstance(decoder(model, 64), CpuDecoder)
    assert isinstance(decoder(model, 65), PlainDecoder)


def test_a_step_past_its_cache_is_an_error() -> None:
    step = decoder(llama(), 8).step
    with torch.inference_mode():
        step(torch.tensor([1]), 7)
        for at in (8, -1):
            with pytest.raises(fewbits.FewbitsError, match="of a sequence of 8"):
                step(torch.tensor([1]), at)


def test_a_cache_of_another_shape_is_an_error() -> None:
    step = decoder(llama(), 8).step
    for shape in ((1, 1, 4, 16), (1, 2, 9, 16), (2, 2, 4, 16)):
        with pytest.raises(fewbits.FewbitsError, match="the cache of a prompt"):
            step.load_cache([(torch.zeros(shape), torch.zeros(shape))] * 2)


def test_a_step_that_cannot_be_made_is_left_to_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = cpu.decoder._turns

    def broken(structure: Any, length: int) -> Any:
        return turns(structure, length) if length < 1000 else {}["factor"]  # as a rotary embedding that grows with the length

    model = llama()
    monkeypatch.setattr(cpu.decoder, "_turns", broken)
    assert isinstance(decoder(model), CpuDecoder) and isinstance(decoder(model, 1000), PlainDecoder)
