"""On an NVIDIA GPU: products against float64, and whole fused steps against the plain model."""

from typing import Any

import pytest
import torch

import fewbits
from fewbits.runtime import gpu, nvrtc
from fewbits.runtime.cache import cache_of
from fewbits.runtime.weight import repack
from fewbits.scheme import Scheme

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(nvrtc.unavailable() is not None, reason=f"needs a GPU: {nvrtc.unavailable()}"),
]


@pytest.mark.parametrize("scheme", ["uint4g64", "int8", "uint3g64", "uint2g64", "nf4g64"])
@pytest.mark.parametrize("batch", [1, 5, 16, 33, 64, 128, 200, 300, 600])
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


def small_llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

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
    model: Any = LlamaForCausalLM(config)
    return fewbits.quantize(model.cuda().half().eval(), {"*": "uint4g64", "lm_head": "int8"})


def divergence(want: torch.Tensor, have: torch.Tensor) -> torch.Tensor:
    """Of the tokens that two vectors of logits foretell."""
    of, to = want.double().log_softmax(-1), have.double().log_softmax(-1)
    return (of.exp() * (of - to)).sum()


def test_prompts_of_a_length_are_recorded_and_give_the_models_logits() -> None:
    from fewbits.runtime.step import StepEngine
    from fewbits.runtime.structure import recognise

    model = small_llama()
    engine = StepEngine(recognise(model), max_len=256)
    for n in (100, 90, 128, 70, 200):  # the second of a length, rounded up, is recorded, the third replayed
        ids = torch.randint(0, 1000, (1, n), device="cuda")
        with torch.inference_mode():
            want, have = model(ids, use_cache=True), engine.read(ids)
        assert divergence(want.logits[0, -1], have[0]) < 1e-5
        keys = cache_of(want).layers[1].keys[0]
        assert torch.allclose(engine.keys[1, :, :n].float(), keys.float(), atol=2e-2)


def test_fused_steps_give_the_models_logits() -> None:
    from fewbits.runtime.step import StepEngine
    from fewbits.runtime.structure import recognise

    model = small_llama()
    engine = StepEngine(recognise(model), max_len=64)
    ids = torch.randint(0, 1000, (1, 9), device="cuda")
    for at in range(9):
        engine.tokens[:9] = ids[0]
        engine.decode(at, 1, logits=True)
    with torch.inference_mode():
        assert divergence(model(ids).logits[0, -1], engine.logits) < 1e-5


def test_a_model_for_writing_alone_writes_what_the_whole_one_does(tmp_path: Any) -> None:
    from pathlib import Path

    from fewbits import models
    from fewbits.storage import light

    model: Any = fewbits.quantize(models.load("demo", device="cuda").model, "uint4g64")
    fewbits.save(model, tmp_path / "saved")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "saved" / name).write_bytes((Path(models.__file__).parent / "demo" / name).read_bytes())
    begun = light.begin(str(tmp_path / "saved"), "cuda")
    assert begun is not None
    loaded = begun.load()
    assert loaded is not None
    ids = loaded.tokenizer("The list of files is")["input_ids"]
    assert torch.equal(fewbits.generate(loaded.model, ids), fewbits.generate(model, ids))
