"""Beside the hqq library (0.2.8.post1): never a worse lp norm on trained layers, never a larger error on a random weight."""

import pytest
import torch
from torch import Tensor, nn

from fewbits import models
from fewbits.roles import kept_by_default
from fewbits.scheme import Scheme
from tests.shared import shared_path

pytestmark = pytest.mark.peers
P = 0.7  # the library's norm


def by_the_library(weight: Tensor, bits: int, group: int = 64, axis: int = 1) -> Tensor:
    """The weight that HQQLinear computes with, in float32."""
    core = pytest.importorskip("hqq.core.quantize")
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = weight.float().clone()
    config = core.BaseQuantizeConfig(nbits=bits, group_size=group, axis=axis)
    return core.HQQLinear(layer, config, compute_dtype=torch.float32, device="cpu").dequantize().detach().float()


def norm(weight: Tensor, other: Tensor) -> float:
    return float((weight.double() - other.double()).abs().pow(P).sum())


@pytest.mark.parametrize("bits", [8, 4, 3, 2])
def test_a_random_weight(bits: int) -> None:
    torch.manual_seed(0)
    weight = torch.randn(512, 256)
    ours = Scheme.parse(f"hqq:uint{bits}g64").quantize(weight).dequantize()
    theirs = by_the_library(weight, bits)
    assert (weight - ours).norm() <= (weight - theirs).norm()
    assert norm(weight, ours) <= norm(weight, theirs)


@pytest.mark.parametrize("bits", [8, 4, 3, 2])
@pytest.mark.parametrize("name", ["llama-28m", "vit-cifar10"])
def test_every_linear_layer_of_trained_models(name: str, bits: int) -> None:
    model = models.load(str(shared_path(f"models/{name}"))).model
    kept = kept_by_default(model)
    scheme, worse = Scheme.parse(f"hqq:uint{bits}g64"), []
    for layer, module in model.named_modules():
        if isinstance(module, nn.Linear) and layer not in kept:
            weight = module.weight.detach().float()
            ours, theirs = scheme.quantize(weight).dequantize(), by_the_library(weight, bits)
            if norm(weight, ours) > norm(weight, theirs):
                worse.append((layer, norm(weight, ours), norm(weight, theirs)))
    assert not worse
