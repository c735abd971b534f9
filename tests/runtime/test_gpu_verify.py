"""On an NVIDIA GPU: a fused engine is held against the model's own forward, and what is changed later is noticed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM
from transformers.models.llama import modeling_llama

import fewbits
from fewbits.runtime import fused, nvrtc, verify
from fewbits.runtime.decode import FusedDecoder, decoder_for, is_fused, why_not_fused
from fewbits.runtime.sampling import Sampling
from tests.runtime.changed import twice

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(nvrtc.unavailable() is not None, reason=f"needs a GPU: {nvrtc.unavailable()}"),
]
FREE: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None, "initializer_range": 0.05}
SIZES = FREE | {
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "vocab_size": 1000,
}
PARTLY = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.75}
MODELS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, num_key_value_heads=2)),
    "phi3": lambda: Phi3ForCausalLM(Phi3Config(**SIZES, num_key_value_heads=4, rope_parameters=PARTLY, sliding_window=None)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**FREE, n_embd=256, n_layer=4, n_head=4, vocab_size=1000, n_positions=300)),
}


def made(name: str = "llama", scheme: str | None = "uint4g64", dtype: torch.dtype = torch.float16) -> Any:
    torch.manual_seed(0)
    model = MODELS[name]().cuda().to(dtype).eval()
    return fewbits.quantize(model, {"lm_head": "int8", "*": scheme}) if scheme else model


def text(model: Any, count: int = 24) -> Tensor:
    return fewbits.generate(model, torch.arange(20, 30), max_new_tokens=count, stop=())


def fused_decoder(model: Any, length: int = 64) -> bool:
    return isinstance(decoder_for(model, 1, length, Sampling()), FusedDecoder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scheme", [None, "uint4g64", "int8", "uint3g64", "nf4g64"])
@pytest.mark.parametrize("name", MODELS)
def test_rounding_is_far_below_what_is_allowed(
    name: str, scheme: str | None, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "gpt2" and scheme is None:
        pytest.skip("an unquantized Conv1D is not fused")
    errors: list[float] = []
    inner = verify.difference
    monkeypatch.setattr(verify, "difference", lambda own, other: errors.append(inner(own, other)) or errors[-1])
    model = made(name, scheme, dtype)
    assert fused_decoder(model), why_not_fused(model)
    print(f"{name} {scheme} {dtype}: {errors}")
    assert errors[0] < verify.TOLERANCE[dtype] / 3
    assert why_not_fused(model) is None and len(errors) == 1  # made once


def interleaved(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1) -> tuple[Tensor, Tensor]:
    half = cos.shape[-1] // 2
    c, s = (t[..., :half].repeat_interleave(2, -1).unsqueeze(unsqueeze_dim) for t in (cos, sin))
    return tuple(x * c + torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2) * s for x in (q, k))  # type: ignore[return-value]


def unturned(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1) -> tuple[Tensor, Tensor]:
    return q, k


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("function", [interleaved, unturned])
def test_other_logits_are_found(function: Any, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(dtype=dtype)
    monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", function)
    assert not fused_decoder(model)
    assert "differ from those of the model's own forward" in str(why_not_fused(model))


def test_hooks_after_the_first_text_are_noticed() -> None:
    model = made()
    first = text(model)
    handle = model.model.layers[1].register_forward_hook(twice)
    assert not fused_decoder(model) and "forward hook" in str(why_not_fused(model))
    assert not torch.equal(text(model), first)
    handle.remove()
    assert fused_decoder(model) and torch.equal(text(model), first)


@pytest.mark.parametrize("how", ["load_state_dict", "in place", "fill", "norm"])
def test_changed_weights_give_their_own_text(how: str) -> None:
    model = made()
    first = text(model)
    torch.manual_seed(7)
    other = fewbits.quantize(MODELS["llama"]().cuda().half().eval(), {"lm_head": "int8", "*": "uint4g64"})
    if how == "norm":
        with torch.no_grad():
            for m in (model, other):
                m.model.norm.weight.mul_(torch.linspace(-1, 1, 256, device="cuda").half())
        other.load_state_dict(model.state_dict())
    elif how == "load_state_dict":
        model.load_state_dict(other.state_dict())
    else:
        for mine, theirs in zip(model.modules(), other.modules(), strict=True):
            if not isinstance(mine, fewbits.layers.QuantizedLayer):
                continue
            if how == "fill":
                mine.fill(theirs.quantized)
            else:
                for name, tensor in theirs.quantized.tensors.items():
                    mine.get_buffer(name).copy_(tensor)
        with torch.no_grad():
            for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
                mine.copy_(theirs)
    assert fused_decoder(model)
    want = text(other)
    assert torch.equal(text(model), want) and not torch.equal(want, first)


def test_a_model_that_was_moved_gives_its_own_text() -> None:
    model = made()
    first = text(model)
    model.cpu()
    keep = [torch.zeros(1 << 20, device="cuda") for _ in range(8)]  # where its weights were
    model.cuda()
    assert torch.equal(text(model), first) and len(keep) == 8


def test_sequences_past_windows_and_positions_are_not_fused() -> None:
    model = made("gpt2")
    assert is_fused(model, 300) and not is_fused(model, 301)
    windowed = made("phi3")
    windowed.config.sliding_window = 128
    assert is_fused(windowed, 128) and not is_fused(windowed, 129)


@pytest.mark.parametrize("bad", [-1, 1000])
def test_tokens_outside_the_vocabulary_are_an_error(bad: int) -> None:
    model = made()
    with pytest.raises(fewbits.FewbitsError, match=f"token {bad} is outside"):
        fewbits.generate(model, torch.tensor([3, bad, 5]), max_new_tokens=4)
    assert text(model).shape == (24,)  # the GPU is as it was


def test_a_model_on_the_cpu_is_not_given_to_the_kernel() -> None:
    model = made().cpu()
    assert not is_fused(model, 20)
    assert why_not_fused(model)


def test_a_llama_built_without_transformers_is_held_against_its_own_forward(tmp_path: Path) -> None:
    from fewbits.models import light
    from fewbits.storage import light as loading

    demo = Path(light.__file__).parent / "demo"
    fewbits.save(fewbits.quantize(LlamaForCausalLM.from_pretrained(demo, dtype=torch.bfloat16), "uint4g64"), tmp_path / "saved")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "saved" / name).write_bytes((demo / name).read_bytes())
    begun = loading.begin(str(tmp_path / "saved"), "cuda")
    assert begun is not None
    loaded = begun.load()
    assert loaded is not None and is_fused(loaded.model, 100), why_not_fused(loaded.model)
    want = fewbits.load(tmp_path / "saved").to("cuda")
    assert torch.equal(text(loaded.model), text(want))
    loaded.model.__dict__.pop(fused._MEMORY)
    loaded.model.model.layers[2].self_attn.scaling *= 2
    assert not is_fused(loaded.model, 100)
