import pytest
import torch
import transformers

import fewbits
from fewbits import FewbitsError
from fewbits.storage import live
from tests.storage import tiny


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_transformers_ties_no_quantized_layers(name: str) -> None:
    model = tiny.quantized(name)
    before = tiny.output(model)
    live.forget_ties(model)
    model.tie_weights()
    assert torch.equal(tiny.output(model), before)


def test_other_ties_stay() -> None:
    model = fewbits.quantize(tiny.llama(), "rtn:int8")
    live.forget_ties(model)
    assert model.all_tied_weights_keys == {"lm_head.weight": "model.embed_tokens.weight"}


def test_settled_model_can_be_saved_by_transformers(tmp_path: object) -> None:
    model = tiny.quantized("llama")
    plan = fewbits.plan_of(model)
    assert plan is not None
    live.settle(model, plan)
    model.save_pretrained(tmp_path)
    assert tiny.differences(model, fewbits.load(str(tmp_path))) == []


@pytest.mark.parametrize(("model", "library"), [(tiny.llama, "transformers"), (tiny.Net, "torch")])
def test_library(model: object, library: str) -> None:
    assert callable(model) and live.library_of(model()) == library


def test_layer_that_is_no_longer_quantized() -> None:
    model = tiny.net()
    plan = fewbits.plan_of(model)
    assert plan is not None
    live.check_plan(model, plan)
    model.hidden = torch.nn.Linear(16, 16)
    with pytest.raises(FewbitsError, match="layer hidden: is a Linear, but the plan says rtn:int4"):
        live.check_plan(model, plan)


def test_tied_bias_of_a_quantized_layer_stays_tied() -> None:
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 16}
    model = transformers.BertForMaskedLM(transformers.BertConfig(**sizes))
    fewbits.quantize(model, {"re:.*": "rtn:int8"})
    live.forget_ties(model)
    assert model.all_tied_weights_keys == {"cls.predictions.decoder.bias": "cls.predictions.bias"}
