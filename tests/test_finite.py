"""NaN and infinity anywhere in a model are refused before anything is changed."""

import pytest
import torch
from torch import nn

from fewbits import quantize
from fewbits.errors import FewbitsError
from fewbits.layers import QuantizedLayer
from tests import tiny

SCHEMES = ["rtn:int4", "hqq:uint4g8/q8", "nf4", "fp8/f32", "rtn:uint3t/bf16"]


def spoilt(name: str, value: float) -> nn.Module:
    model = tiny.llama()
    with torch.no_grad():
        dict(model.named_parameters())[name].view(-1)[3] = value
    return model


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["model.embed_tokens.weight", "model.norm.weight", "model.layers.1.input_layernorm.weight"])
def test_kept_tensors_are_checked(name: str, value: float) -> None:
    model = spoilt(name, value)
    with pytest.raises(FewbitsError, match=rf"tensor {name}: 1 of its [\d,]+ values are NaN or infinite: mend the checkpoint"):
        quantize(model, "rtn:int4")
    assert not any(isinstance(m, QuantizedLayer) for m in model.modules())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_quantized_weights_are_checked(scheme: str) -> None:
    with pytest.raises(FewbitsError, match=r"layer model\.layers\.1\.mlp\.up_proj: 1 of its 6,144 weights are NaN or infinite"):
        quantize(spoilt("model.layers.1.mlp.up_proj.weight", float("nan")), scheme)


def test_biases_of_quantized_layers_and_running_statistics_are_checked() -> None:
    for index, name in ((0, "bias"), (1, "running_var")):
        model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))
        with torch.no_grad():
            getattr(model[index], name)[0] = float("inf")
        with pytest.raises(FewbitsError, match=rf"tensor {index}\.{name}: 1 of its 8 values"):
            quantize(model, "rtn:int4")


def test_a_mask_of_minus_infinity_and_a_skipped_layer_are_no_fault() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model.register_buffer("mask", torch.full((4, 4), -torch.inf).triu(1))
    with torch.no_grad():
        model[1].weight[0, 0] = float("nan")
    quantize(model, "rtn:int4", skip=("1",))


def test_a_kept_tensor_on_the_meta_device_is_refused() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8).to("meta"))
    with pytest.raises(FewbitsError, match=r"tensor 1\.weight: is not loaded \(meta device\)"):
        quantize(model, "rtn:int4")
