"""An engine of the GPU is held against the model's own forward; here with an engine that asks the model, or is wrong."""

from typing import Any

import pytest
import torch

from fewbits.runtime import fused, step
from fewbits.runtime.decode import is_fused, why_not_fused
from fewbits.runtime.structure import UnknownStructure
from tests.runtime.changed import llama


class Engine:
    """What the check asks of StepEngine. `wrong` is what it does otherwise."""

    made = 0
    model: Any = None
    wrong = ""

    def __init__(self, structure: Any, max_len: int) -> None:
        type(self).made += 1
        if self.wrong == "size" or (self.wrong == "long" and max_len > 256):
            raise UnknownStructure("a width of 64")
        if self.wrong == "memory":
            raise torch.OutOfMemoryError("no room")
        self.max_len = max_len
        self.tokens = torch.zeros(max_len + 1, dtype=torch.int32)

    def read(self, ids: torch.Tensor, *, record: bool = True) -> torch.Tensor:
        assert not record
        self.tokens[: ids.shape[1]] = ids[0]
        factor = 1.5 if self.wrong == "read" else 1
        return Engine.model(ids).logits[:, -1] * factor

    def decode(self, start: int, steps: int, *, logits: bool) -> None:
        assert (steps, logits) == (1, True)
        seen = self.tokens[: start + 1].long()[None]
        if self.wrong == "position" and start == 7:
            seen = seen[:, 1:]
        self.logits = Engine.model(seen).logits[0, -1]
        self.tokens[start + 1] = self.logits.argmax()


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = llama()
    monkeypatch.setattr(step, "StepEngine", Engine)
    monkeypatch.setattr(fused, "is_on_gpu", lambda _: True)
    monkeypatch.setattr(Engine, "made", 0)
    monkeypatch.setattr(Engine, "model", made)
    return made


def test_an_engine_that_computes_the_same_is_kept(model: Any) -> None:
    assert is_fused(model, 20) and is_fused(model, 256) and why_not_fused(model) is None
    assert Engine.made == 1
    assert is_fused(model, 257)  # a longer cache
    assert Engine.made == 2


def test_changed_weights_make_another_engine(model: Any) -> None:
    assert is_fused(model, 20)
    with torch.no_grad():
        model.model.norm.weight.mul_(2)
    assert is_fused(model, 20) and Engine.made == 2
    model.to(torch.float64).to(torch.float32)  # other addresses
    assert is_fused(model, 20) and Engine.made == 3


@pytest.mark.parametrize("wrong", ["read", "position"])
def test_an_engine_that_computes_something_else_is_not_used(model: Any, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "wrong", wrong)
    for _ in range(2):
        assert not is_fused(model, 20)
    assert Engine.made == 1
    with pytest.raises(UnknownStructure, match="differ from those of the model's own forward"):
        fused.engine_for(model, 20)


def test_a_refusal_is_remembered_but_not_a_lack_of_memory(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "wrong", "memory")
    assert not is_fused(model, 20) and not is_fused(model, 20)
    assert Engine.made == 2
    monkeypatch.setattr(Engine, "wrong", "size")
    assert not is_fused(model, 20) and not is_fused(model, 20)
    assert Engine.made == 3
    with pytest.raises(UnknownStructure, match="a width of 64"):
        fused.engine_for(model, 20)


def test_a_cache_that_is_too_long_leaves_shorter_ones_as_they_were(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "wrong", "long")
    assert is_fused(model, 20) and not is_fused(model, 300) and is_fused(model, 20) and not is_fused(model, 300)
    assert Engine.made == 3
