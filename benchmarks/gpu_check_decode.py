"""Is the fused decode step right? Its logits and tokens against the dequantized model in f32, on one NVIDIA GPU.

    python benchmarks/gpu_check_decode.py [FOLDER_OF_A_MODEL ...]

Random models of the shapes that it takes (Llama; Phi-3 with merged projections and a rotary embedding of a part of a head; GPT-2), at
all widths, and trained models given as folders (plain, or saved by fewbits). The reference reads all tokens in f32; the engine takes
the prompt's keys and values from it, then one token after another. For each: the mean and the largest KL divergence of the next
token, the relative error of the logits, how many greedy tokens are not the reference's, and how far their logit is behind in units of
the logits' deviation: a tie that rounding decides. The last line is JSON.
"""

import copy
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
)

import fewbits
from fewbits.layers import QuantizedEmbedding, QuantizedLayer
from fewbits.runtime.cache import cache_of
from fewbits.runtime.decode import FusedDecoder, decoder_for, why_not_fused
from fewbits.runtime.sampling import Sampling

PROMPT, STEPS = 40, 300
SCHEMES = ("uint4g64", "int8", "uint3g64", "uint2g64", "nf4g64", "uint8g128", "uint4")
_FREE: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None, "initializer_range": 0.05}


def models() -> dict[str, Any]:
    """Random models in f32, wide enough that a product has several tiles a warp."""
    torch.manual_seed(0)
    sizes = _FREE | {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 3, "vocab_size": 1000}
    small = _FREE | {"hidden_size": 192, "intermediate_size": 320, "num_hidden_layers": 2, "vocab_size": 999}
    wide = _FREE | {"hidden_size": 4096, "intermediate_size": 6144, "num_hidden_layers": 1, "vocab_size": 1000}
    rope = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.75}
    phi = sizes | {"hidden_size": 960, "intermediate_size": 2560}
    return {
        "llama": LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=16, num_key_value_heads=4)),
        "llama, small": LlamaForCausalLM(LlamaConfig(**small, num_attention_heads=6, num_key_value_heads=2)),
        "llama, heads of 128": LlamaForCausalLM(LlamaConfig(**wide, num_attention_heads=32, num_key_value_heads=8)),
        "phi-3": Phi3ForCausalLM(Phi3Config(**phi, num_attention_heads=10, num_key_value_heads=10, rope_parameters=rope)),
        "gpt-2": GPT2LMHeadModel(GPT2Config(n_embd=768, n_layer=3, n_head=12, vocab_size=1000, **_FREE)),
        "gemma": GemmaForCausalLM(GemmaConfig(**sizes, num_attention_heads=8, num_key_value_heads=1, head_dim=128)),
    }


def cases(folders: list[str]) -> list[tuple[str, Any, str, torch.dtype]]:
    """Name, model in f32 (or quantized), scheme ("": as it is) and type of the activations."""
    found: list[tuple[str, Any, str, torch.dtype]] = []
    for folder in map(Path, folders):
        saved = (folder / "plan.yaml").exists()
        trained = fewbits.load(folder) if saved else AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        for scheme in ("",) if saved else ("uint4g64", "int8"):
            found += [(folder.name, trained, scheme, dtype) for dtype in (torch.float16, torch.bfloat16)]
    for name, model in models().items():
        for scheme in (*SCHEMES, "") if name == "llama" else ("uint4g64", "int8", ""):
            found.append((name, model, scheme, torch.float16))
    return found


def reference(model: Any) -> Any:
    """The same model with plain layers of the dequantized weights, in f32."""
    plain: Any = nn.Module.float(copy.deepcopy(model))  # transformers refuses to cast a model that was saved quantized
    for name, layer in list(plain.named_modules()):
        if not isinstance(layer, QuantizedLayer):
            continue
        weight = nn.Parameter(layer.dequantize(torch.float32), requires_grad=False)
        made: Any = nn.Embedding(*weight.shape) if isinstance(layer, QuantizedEmbedding) else nn.Linear(*weight.shape[::-1])
        made.weight, made.bias = weight, getattr(layer, "bias", None)
        parent, _, leaf = name.rpartition(".")
        setattr(plain.get_submodule(parent), leaf, made)
    return plain


def step_logits(decoder: FusedDecoder, cache: Any, ids: Tensor) -> Tensor:
    """The engine's logits after each of the tokens past the prompt, which are given."""
    engine = decoder.engine
    engine.load_cache([(layer.keys, layer.values) for layer in cache.layers])
    rows = []
    for at in range(PROMPT, ids.shape[1]):
        engine.tokens[at] = ids[0, at]
        engine.decode(at, 1, logits=True)
        rows.append(engine.logits.clone())
    return torch.stack(rows)


def compare(model: Any) -> dict[str, Any]:
    """Figures of one model, which is on the GPU."""
    plain = reference(model)
    vocabulary = plain.get_output_embeddings().weight.shape[0]
    decoder = decoder_for(model, 1, PROMPT + STEPS, Sampling())
    if not isinstance(decoder, FusedDecoder):
        return {"decoder": type(decoder).__name__, "why": why_not_fused(model)}
    ids = torch.randint(0, vocabulary, (1, PROMPT + STEPS - 1), device="cuda")
    with torch.inference_mode():
        want = plain(input_ids=ids).logits[0, PROMPT:].double()
        cache = cache_of(plain(input_ids=ids[:, :PROMPT], use_cache=True))
        have, again = step_logits(decoder, cache, ids).double(), step_logits(decoder, cache, ids).double()
        made = torch.cat(list(decoder.tokens(ids[:, :PROMPT], None, STEPS)), dim=1)
        greedy = plain(input_ids=torch.cat([ids[:, :PROMPT], made], dim=1)).logits[0, PROMPT - 1 : -1]
    behind = greedy.max(-1).values - greedy.gather(1, made[0, :, None])[:, 0]  # 0 where the token is the reference's
    kl = (want.softmax(-1) * (want.log_softmax(-1) - have.log_softmax(-1))).sum(-1)
    return {
        "kl": float(kl.mean()),
        "kl_most": float(kl.max()),
        "error": float((have - want).norm() / want.norm()),
        "same_bits_again": bool(torch.equal(have, again)),
        "other_tokens": int((behind > 0).sum()),
        "behind": float(behind.max() / greedy.std()),
    }


def main() -> None:
    """Measure and print."""
    print(torch.cuda.get_device_name())
    results = {}
    for name, model, scheme, dtype in cases(sys.argv[1:]):
        made = copy.deepcopy(model).to("cuda", dtype).eval()
        if scheme:
            made = fewbits.quantize(made, {"*": scheme}, on_misfit="keep")
        label = f"{name}, {scheme or 'as it is'}, {str(dtype)[6:]}"
        results[label] = compare(made)
        told = (f"{k} {v:.2g}" if isinstance(v, float) else f"{k} {v}" for k, v in results[label].items())
        print(f"{label:42}", "  ".join(told), flush=True)
    print(json.dumps({"device": torch.cuda.get_device_name(), "results": results}))


if __name__ == "__main__":
    main()
