"""On an NVIDIA GPU: products against float64, and whole fused steps against the plain model."""

from typing import Any

import pytest
import torch

import fewbits
from fewbits.runtime import gpu, nvrtc
from fewbits.runtime.weight import repack
from fewbits.scheme import Scheme

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(nvrtc.unavailable() is not None, reason=f"needs a GPU: {nvrtc.unavailable()}"),
]


@pytest.mark.parametrize("scheme", ["uint4g64", "int8", "uint3g64", "uint2g64", "nf4g64"])
@pytest.mark.parametrize("batch", [1, 5, 33, 128, 200, 300])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_products_agree_with_float64_and_repeat_bit_for_bit(scheme: str, batch: int, dtype: torch.dtype) -> None:
    quantized = Scheme.parse(scheme).quantize(torch.randn(1000, 1088, device="cuda"))
    weight = repack(quantized)
    assert weight is not None
    x, bias = torch.randn(batch, 1088, device="cuda").to(dtype), torch.randn(1000, device="cuda").to(dtype)
    want = x.double() @ quantized.dequantize().double().T + bias.double()
    have = gpu.product(weight, x, bias)
    assert (have.double() - want).norm() / want.norm() < 1e-2
    assert torch.equal(have, gpu.product(weight, x, bias))


def test_a_prepared_layer_keeps_its_stored_bits() -> None:
    layer: Any = fewbits.quantize(torch.nn.Sequential(torch.nn.Linear(128, 96)).cuda().bfloat16(), "uint4g64")
    before = {k: v.cpu().clone() for k, v in layer.state_dict().items()}
    with torch.inference_mode():
        layer(torch.randn(2, 128, device="cuda").bfloat16())
    after = layer.state_dict()
    assert not after["0.codes"].is_cuda
    assert all(torch.equal(after[k].cpu(), v) for k, v in before.items())


def test_fused_steps_give_the_models_logits() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    from fewbits.runtime.step import StepEngine
    from fewbits.runtime.structure import recognise

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=64,
        vocab_size=1000,
    )
    model: Any = fewbits.quantize(LlamaForCausalLM(config).cuda().half().eval(), {"*": "uint4g64", "lm_head": "int8"})
    engine = StepEngine(recognise(model), max_len=64)
    ids = torch.randint(0, 1000, (1, 9), device="cuda")
    for at in range(9):
        engine.tokens[:9] = ids[0]
        engine.decode(at, 1, logits=True)
    with torch.inference_mode():
        want = model(ids).logits[0, -1].double().log_softmax(-1)
    have = engine.logits.double().log_softmax(-1)
    assert (want.exp() * (want - have)).sum() < 1e-5
