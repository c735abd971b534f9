import pytest
import torch
from torch import nn

from fewbits.measure.running import ask, config_value, device_of, dtype_of, evaluating
from tests.measure.tiny import tiny_classifier, tiny_llama


def test_modes_come_back_when_the_work_fails() -> None:
    model = tiny_classifier().train()
    model[1].eval()
    with pytest.raises(ZeroDivisionError), evaluating(model):
        assert not any(m.training for m in model.modules())
        assert not torch.is_grad_enabled()
        _ = 1 / 0
    assert [m.training for m in model] == [True, False, True, True, True]
    assert torch.is_grad_enabled()


def test_a_language_model_makes_no_cache_when_it_is_only_asked() -> None:
    model, answers = tiny_llama(), []
    model.register_forward_hook(lambda *args: answers.append(args[-1]))
    assert ask(model, torch.zeros(1, 4, dtype=torch.int64)).shape == (1, 4, 64)
    assert answers[0].past_key_values is None


def test_what_a_model_computes_in_and_where() -> None:
    assert dtype_of(nn.Linear(2, 2).bfloat16()) == torch.bfloat16
    assert device_of(nn.Linear(2, 2, device="meta")).type == "meta"
    assert (dtype_of(nn.ReLU()), device_of(nn.ReLU()).type) == (torch.float32, "cpu")
    assert config_value(tiny_llama(), "vocab_size") == 64
    assert config_value(nn.ReLU(), "vocab_size") is None
