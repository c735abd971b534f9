import pytest
import torch
from torch import nn

from fewbits.errors import FewbitsError
from fewbits.measure import Remembered, perplexity, text_divergence
from fewbits.measure.running import ask, check_ids, config_value, device_of, dtype_of, evaluating
from fewbits.runtime.cache import cache_of
from tests.measure.tiny import TinyLM, tiny_classifier, tiny_llama


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
    assert cache_of(answers[0]) is None


def test_what_a_model_computes_in_and_where() -> None:
    assert dtype_of(nn.Linear(2, 2).bfloat16()) == torch.bfloat16
    assert device_of(nn.Linear(2, 2, device="meta")).type == "meta"
    assert (dtype_of(nn.ReLU()), device_of(nn.ReLU()).type) == (torch.float32, "cpu")
    assert config_value(tiny_llama(), "vocab_size") == 64
    assert config_value(nn.ReLU(), "vocab_size") is None


def test_ids_beyond_the_embedding_are_named_before_the_forward() -> None:
    model, ids = tiny_llama(), torch.arange(65)
    check_ids(model, [ids[:64], ids[:0]])
    check_ids(TinyLM(), [ids])  # no way to ask it for its embedding
    said = r"gives id 64, the model's embedding has 64 rows \(0 to 63\)"
    with pytest.raises(FewbitsError, match=said):
        perplexity(model, ids, "plain:5")
    wider = tiny_llama(vocab_size=65)
    with pytest.raises(FewbitsError, match="gives id 64, the model's embedding has 64 rows"):
        text_divergence(wider, Remembered(model), ids, "plain:5")
