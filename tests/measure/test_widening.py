"""Models that compute in float32 from weights that stay in bfloat16."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from fewbits.apply import quantize
from fewbits.measure import widening
from fewbits.measure.running import ask, dtype_of, evaluating
from tests import tiny

IDS = torch.randint(tiny.VOCABULARY, (2, 20), generator=torch.Generator().manual_seed(0))
IMAGES = {"vit": (2, 3, 16, 16), "mobilenet": (2, 3, 32, 32), "cnn": (2, 3, 8, 8)}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(widening, "LARGE", 200)


def inputs_of(name: str) -> torch.Tensor:
    return torch.randn(IMAGES[name], generator=torch.Generator().manual_seed(0)) if name in IMAGES else IDS


def narrow_bytes(model: nn.Module) -> int:
    """Bytes that a module holds, whether registered or aside."""
    seen: dict[int, int] = {}
    for module in model.modules():
        held = [*module._parameters.values(), *module._buffers.values(), *module.__dict__.get("_stored", {}).values()]
        seen |= {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in held if t is not None}
    return sum(seen.values())


@pytest.mark.parametrize("scheme", [None, "int8"])
@pytest.mark.parametrize("name", ["llama", "phi3", "gpt2", "vit", "mobilenet", "cnn"])
def test_the_same_answers_from_half_the_bytes(name: str, scheme: str | None) -> None:
    stored = getattr(tiny, name)().to(torch.bfloat16)
    if scheme is not None:
        quantize(stored, scheme)
    cast = copy.deepcopy(stored).to(torch.float32)
    before = narrow_bytes(stored)
    held = widening.compute_in(stored, torch.float32)
    with evaluating(held, cast):
        assert torch.equal(ask(held, inputs_of(name)), ask(cast, inputs_of(name)))
    assert dtype_of(held) == torch.float32
    if scheme is None and name in ("llama", "phi3", "gpt2", "vit"):
        assert narrow_bytes(held) < 1.2 * before < 0.7 * narrow_bytes(cast)


def test_large_heads_are_computed_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = tiny.phi3().to(torch.bfloat16)
    cast = copy.deepcopy(stored).to(torch.float32)
    monkeypatch.setattr(widening, "SLICE", 64 * 7)
    with evaluating(stored):
        want = ask(cast, IDS)
        assert torch.allclose(ask(widening.compute_in(stored, torch.float32), IDS), want, rtol=1e-5, atol=1e-6)


def test_experts_are_cast_once_a_run() -> None:
    """Parameters of a module's own, read in a loop."""

    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.stack = nn.Parameter(torch.randn(4, 16, 16))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert self.stack is self.stack
            return sum((x @ self.stack[i] for i in range(4)), torch.zeros(()))

    stored = Experts().bfloat16()
    want = copy.deepcopy(stored).float()(torch.ones(1, 16))
    held: Any = widening.compute_in(stored, torch.float32)
    assert torch.equal(held(torch.ones(1, 16)), want)
    assert held._live is None and held.stack.dtype == torch.float32 and isinstance(held, Experts)


def test_scaled_embeddings_cast_only_the_rows_that_are_asked_for() -> None:
    class TinyScaledWordEmbedding(nn.Embedding):
        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            assert self.weight.shape[0] <= input_ids.numel()
            return super().forward(input_ids) * torch.tensor(3.0).to(self.weight.dtype)

    stored = TinyScaledWordEmbedding(500, 8).bfloat16()
    want = 3 * stored.weight.detach().float()[IDS]
    assert torch.equal(widening.compute_in(stored, torch.float32)(IDS), want)


def test_a_model_that_is_wide_already_is_left_alone() -> None:
    model = tiny.llama()
    kinds = [type(module) for module in model.modules()]
    assert [type(module) for module in widening.compute_in(model, torch.float32).modules()] == kinds
