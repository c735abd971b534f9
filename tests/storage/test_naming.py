import pytest
import torch
import transformers

import fewbits
from fewbits import FewbitsError
from fewbits.apply import rebuild
from fewbits.plan import Plan
from fewbits.storage import naming
from tests.storage import tiny


def plan(model: torch.nn.Module) -> Plan:
    found = fewbits.plan_of(model)
    assert found is not None
    return found


def test_base_model_drops_prefix_and_head() -> None:
    saved = plan(tiny.quantized("llama"))
    base = transformers.LlamaModel(tiny.llama().config)
    fitted = naming.fitted(saved, base)
    assert len(fitted.decisions) == len(saved.decisions) - 1  # lm_head
    rebuild(base, fitted)


def test_model_around_a_base_model_adds_the_prefix() -> None:
    base = transformers.ViTModel(tiny.vit(torch.float32).config, add_pooling_layer=False)
    saved = plan(fewbits.quantize(base, "rtn:int8"))
    fitted = naming.fitted(saved, tiny.vit(torch.float32))
    assert {d.name for d in fitted.decisions} == {f"vit.{d.name}" for d in saved.decisions}


def test_tie_is_renamed_too() -> None:
    saved = plan(tiny.quantized("llama"))
    around = torch.nn.Module()
    around.base_model_prefix, around.model = "", tiny.llama().get_submodule("model")
    around.lm_head = torch.nn.Linear(16, 48)
    tied = [d for d in naming.fitted(saved, around).decisions if d.tied_to]
    assert [(d.name, d.tied_to) for d in tied] == [("lm_head", "model.embed_tokens")]


def test_plan_for_another_model() -> None:
    with pytest.raises(FewbitsError, match="plan is for another model: a Net"):
        naming.fitted(plan(tiny.quantized("llama")), tiny.Net())


def test_wrong_shape_is_named() -> None:
    model = tiny.quantized("llama")
    stored = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    naming.check_shapes(model, stored)
    stored["model.layers.0.mlp.down_proj.codes"] = (1,)
    with pytest.raises(FewbitsError, match=r"tensor model\.layers\.0\.mlp\.down_proj\.codes: is saved as \(1,\)"):
        naming.check_shapes(model, stored)
