"""Tiny random models of every family that is saved and loaded here, and what it means that two are the same."""

from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import Tensor, nn

import fewbits
from fewbits.runtime import cpu

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
MIXED = {"*down*": "rtn:uint3g8z", "*mlp*": "nf4g8/q8", "*o_proj": "rtn:int8a8", "*": "rtn:uint4g8/bf16"}


def _language(config: Any, dtype: torch.dtype) -> nn.Module:
    return transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)


def llama(dtype: torch.dtype = torch.float32, **others: Any) -> nn.Module:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "vocab_size": 48, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": True}
    return _language(transformers.LlamaConfig(**(sizes | heads | others)), dtype)


def phi3(dtype: torch.dtype) -> nn.Module:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "vocab_size": 48, "pad_token_id": 0}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": False}
    return _language(transformers.Phi3Config(**sizes, **heads), dtype)


def gpt2(dtype: torch.dtype) -> nn.Module:
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 48, "n_positions": 32}
    return _language(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=1), dtype)


def vit(dtype: torch.dtype) -> nn.Module:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.ViTConfig(image_size=16, patch_size=4, num_labels=5, **sizes)
    return transformers.AutoModelForImageClassification.from_config(config, dtype=dtype)


def mobilenet(dtype: torch.dtype) -> nn.Module:
    config = transformers.MobileNetV2Config(image_size=32, depth_multiplier=0.25, num_labels=5)
    model = transformers.AutoModelForImageClassification.from_config(config, dtype=dtype)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.uniform_(-0.1, 0.1)  # a fresh one has the statistics that a loader could also invent
        norm.running_var.uniform_(0.5, 1.5)
    return model


class Net(nn.Module):
    """A class that no library knows, with a tied weight, a table that is not stored and a buffer that is."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.embed = nn.Embedding(8, width)
        self.hidden = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, 8, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("table", torch.arange(width) / width, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.norm(self.hidden(self.embed(ids)) + self.table))


MODELS: dict[str, Callable[[torch.dtype], nn.Module]] = {
    "llama": llama,
    "phi3": phi3,
    "gpt2": gpt2,
    "vit": vit,
    "mobilenet": mobilenet,
}
PLANS: dict[str, dict[str, str]] = {
    "llama": {"lm_head": "rtn:int8", "*embed_tokens": "rtn:int8", **MIXED},
    "phi3": {"lm_head": "rtn:int6", "*gate_up_proj": "fp4g16", "*qkv_proj": "fp8t", "*": "rtn:int5g4o"},
    "gpt2": {"lm_head": "rtn:uint7", "*wte": "rtn:uint7", "*wpe": "nf3", "*mlp*": "rtn:uint2g8z", "*": "rtn:int4g8"},
    "vit": {"classifier": "rtn:uint4", "*attention*": "rtn:int8a8", "*": "rtn:uint5g8/f32"},
    "mobilenet": {"classifier": "rtn:int4", "*": "rtn:int8"},
}


def quantized(name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A random model of a family, quantized by its plan, in evaluation mode."""
    torch.manual_seed(0)
    return fewbits.quantize(MODELS[name](dtype).eval(), PLANS[name])


def net(scheme: str = "rtn:int4") -> nn.Module:
    torch.manual_seed(0)
    return fewbits.quantize(Net().eval(), scheme)


def output(model: nn.Module) -> Tensor:
    """What the model says to a fixed input of its kind."""
    generator = torch.Generator().manual_seed(1)
    if isinstance(model, Net):
        return model(torch.arange(8))
    config: Any = model.config
    if hasattr(config, "image_size"):
        shape = (2, 3, config.image_size, config.image_size)
        return model(torch.rand(shape, generator=generator).to(model.dtype)).logits
    return model(torch.randint(0, config.vocab_size, (2, 12), generator=generator)).logits


def differences(a: nn.Module, b: nn.Module) -> list[str]:
    """Names of all that differs: stored tensors, tensors that are not stored, dtypes, plans, outputs. Empty: bit for bit."""
    found = [] if a.state_dict().keys() == b.state_dict().keys() else ["names"]
    others = dict(b.named_parameters()) | dict(b.named_buffers())
    for name, tensor in (*a.named_parameters(), *a.named_buffers()):
        if name not in others or others[name].dtype != tensor.dtype or not torch.equal(others[name], tensor):
            found.append(name)
    if fewbits.plan_of(a) != fewbits.plan_of(b):
        found.append("plan")
    for kernels in {False, cpu.available()}:  # dequantized, and on the CPU kernels: both to the last bit
        with torch.no_grad(), cpu.enabled(kernels):
            found += [] if torch.equal(output(a), output(b)) else [f"output, kernels {'on' if kernels else 'off'}"]
    return found
