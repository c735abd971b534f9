"""Tiny random models of every causal-LM class that the installed transformers has, and some whose state depends on the length."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

VOCABULARY = 256
WINDOW = 8  # of sliding attention: shorter than the prompts
ORIGINAL = 16  # tokens of the original context of rotary embeddings that are extended: shorter than the prompts

# by the names that configurations use; only those are set that a configuration knows
_SIZES: dict[str, Any] = {
    "hidden_size": 64, "d_model": 64, "n_embd": 64, "embedding_size": 64, "emb_dim": 64, "dim_model": 64, "embedding_dim": 64,
    "intermediate_size": 96, "ffn_dim": 96, "n_inner": 96, "dff": 96, "decoder_ffn_dim": 96, "encoder_ffn_dim": 96,
        "d_inner": 96,
    "dim_ff": 96, "ffn_hidden_size": 96, "ffn_config.ffn_hidden_size": 96,
    "num_hidden_layers": 2, "num_layers": 2, "n_layer": 2, "n_layers": 2, "encoder_layers": 2, "decoder_layers": 2,
        "num_blocks": 2,
    "num_decoder_layers": 2, "num_encoder_layers": 2,
    "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
    "num_decoder_attention_heads": 4, "num_encoder_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "d_kv": 16, "dim_head": 16, "d_head": 16, "attention_head_size": 16,
        "global_head_dim": 16,
    "vocab_size": VOCABULARY, "vocab_size_per_layer_input": VOCABULARY,
    "max_position_embeddings": 128, "n_positions": 128, "max_sequence_length": 128, "max_seq_len": 128, "context_length": 128,
    "sliding_window": WINDOW, "attention_window_size": WINDOW, "window_size": WINDOW, "local_attention": WINDOW,
        "attention_chunk_size": WINDOW,
    "moe_intermediate_size": 32, "expert_ffn_hidden_size": 32, "shared_expert_intermediate_size": 32,
        "shared_intermediate_size": 32, "moe_shared_expert_intermediate_size": 32,
    "num_experts": 4, "n_routed_experts": 4, "num_local_experts": 4, "moe_num_experts": 4, "num_experts_per_tok": 2,
        "num_experts_per_token": 2, "moe_topk": 2, "moe_k": 2,
    "n_group": 1, "topk_group": 1, "n_shared_experts": 1, "first_k_dense_replace": 1,
    "kv_lora_rank": 32, "q_lora_rank": 32, "qk_rope_head_dim": 16, "qk_nope_head_dim": 16, "qk_head_dim": 32, "v_head_dim": 16,
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 16,
    "index_n_heads": 2, "index_head_dim": 32, "index_topk": 64,
    "hidden_size_per_layer_input": 32, "laurel_rank": 32, "num_kv_shared_layers": 0,
    "use_mamba_kernels": False,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "decoder_start_token_id": 1,
}  # fmt: skip

_LINEAR: dict[str, Any] = {"layer_types": ["linear_attention", "full_attention"]}
# what a type needs beside or against _SIZES; None leaves a size at the configuration's own value
_TYPES: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1], "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16},
    "falcon_h1": {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_d_ssm": 128, "mamba_n_groups": 1},
    "falcon_mamba": {"state_size": 16, "expand": 2},
    "mamba": {"state_size": 16, "expand": 2},
    "mamba2": {"num_heads": 8, "head_dim": 16, "state_size": 16, "expand": 2, "n_groups": 1},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"], "mamba_n_heads": 8, "mamba_d_state": 16, "mamba_d_head": 16},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1,
        "mamba_d_state": 16},
    "zamba2": {"num_hidden_layers": 4, "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"], "mamba_headdim": 16,
        "n_mamba_heads": 8, "mamba_d_state": 16, "attention_head_dim": 32, "hybrid_layer_ids": [1, 3]},
    "nemotron_h": {"layers_block_type": ["mamba", "attention"], "mamba_num_heads": 8, "mamba_head_dim": 16,
        "ssm_state_size": 16, "n_groups": 1},
    "recurrent_gemma": {"num_hidden_layers": 3, "lru_width": 64, "num_key_value_heads": 1},
    "rwkv": {"attention_hidden_size": 64},
    "xlstm": {"qk_dim_factor": 1.0, "head_dim": None, "qk_head_dim": None, "v_head_dim": None},
    "dory": {"num_hidden_layers": 3, "n_input_layers": 1, "n_output_layers": 1, "layer_types": None},
    "inkling2_text": {"unpadded_vocab_size": VOCABULARY}, "inkling2_loop_text": {"unpadded_vocab_size": VOCABULARY},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "qwen2": {"use_sliding_window": True, "max_window_layers": 1},
    "qwen3": {"use_sliding_window": True, "max_window_layers": 1},
    "gptj": {"rotary_dim": 8}, "codegen": {"rotary_dim": 8},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "gpt_oss": {"rope_parameters": {"rope_type": "default", "rope_theta": 150000.0}},
    "opt": {"word_embed_proj_dim": 64},
    "gemma3n_text": {"altup_num_inputs": 2, "layer_types": ["sliding_attention", "full_attention"],
        "activation_sparsity_pattern": [0.0, 0.0], "intermediate_size": [96, 96]},
    "gemma4_text": {"layer_types": ["sliding_attention", "full_attention"]},
    "qwen3_next": _LINEAR, "qwen3_5_text": _LINEAR, "qwen3_5_moe_text": _LINEAR,
    "llama4_text": {"intermediate_size_mlp": 96},
    "reformer": {"attn_layers": ["local", "lsh"], "axial_pos_shape": (8, 16), "axial_pos_embds_dim": (32, 32),
        "is_decoder": True, "feed_forward_size": 96, "local_attn_chunk_length": 8, "lsh_attn_chunk_length": 8,
        "num_buckets": 4, "hash_seed": 0},
    "dbrx": {"attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 10000.0},
        "ffn_config": {"ffn_hidden_size": 96, "moe_num_experts": 4, "moe_top_k": 2, "hidden_size": 64}},
    "xlm": {"emb_dim": 64, "n_langs": 1},
    "electra": {"embedding_size": 64},
    "zaya": {"num_experts_per_tok": 1},
    "prophetnet": {"num_hidden_layers": None, "num_attention_heads": None, "num_encoder_layers": 2, "num_decoder_layers": 2},
    "xlnet": {"max_position_embeddings": None, "d_head": 16, "n_head": 4},
    "zamba": {"layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"], "num_hidden_layers": 4, "attention_head_dim": 32,
        "n_mamba_heads": 2},
    "gemma4_assistant": {"hidden_size_per_layer_input": 0},
    "qwen4_exp_text": {**_LINEAR, "hc_count": 2, "hc_lowrank": 32, "indexer_n_heads": 2, "indexer_kv_heads": 1,
        "indexer_head_dim": 16, "indexer_budget": 64, "indexer_compress_ratio": 4, "ple_layer_ids": [1],
        "ple_embed_dim": 32, "ngram_vocab_size_base": 500, "heads_per_ngram": 2, "split_ngram_parts": 2},
}  # fmt: skip
# decoders that are written as encoders: they must be told
_ENCODERS = (
    "bert", "bert-generation", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert", "rembert",
        "roberta",
    "roberta-prelayernorm", "roc_bert", "roformer", "xlm-roberta", "xlm-roberta-xl", "xmod",
)  # fmt: skip
_ROPE: dict[str, Any] = {"rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": ORIGINAL}
# more of a class than its defaults: how positions are extended, windows, heads
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama dynamic": ("llama", {"max_position_embeddings": ORIGINAL, "rope_parameters": {**_ROPE, "rope_type": "dynamic"}}),
    "llama yarn": ("llama", {"rope_parameters": {**_ROPE, "rope_type": "yarn"}}),
    "llama linear": ("llama", {"rope_parameters": {**_ROPE, "rope_type": "linear"}}),
    "llama past positions": ("llama", {"max_position_embeddings": ORIGINAL}),
    "phi3 longrope": ("phi3", {
        "original_max_position_embeddings": ORIGINAL, "max_position_embeddings": 128, "sliding_window": None,
        "rope_parameters": {**_ROPE, "rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [4.0] * 8},
    }),
    "mistral no window": ("mistral", {"sliding_window": None}),
    "falcon new": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon alibi": ("falcon", {"alibi": True, "new_decoder_architecture": False}),
    "llama bias": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "gpt_bigcode heads": ("gpt_bigcode", {"multi_query": False}),
}  # fmt: skip


def names() -> list[str]:
    """Every model type with a causal-LM class, then the variants."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return [*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *VARIANTS]


def build(name: str, *, most: int = 40_000_000) -> Any:
    """A model by its name, with weights that are wide enough for clear opinions. Raises ValueError if it would be large."""
    from transformers import AutoModelForCausalLM

    kind, more = VARIANTS.get(name, (name, {}))
    config = _config(kind, more)
    with torch.device("meta"):
        try:
            size = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
        except (RuntimeError, NotImplementedError):  # some are not built on the meta device
            size = 0
    if size > most:
        raise ValueError(f"{size / 1e6:.0f} million weights: too large for a test")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    _widen(model)
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    return model


def _config(kind: str, more: dict[str, Any]) -> Any:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    made = CONFIG_MAPPING[kind]
    base = made()
    options = _options(base, kind) | more
    for part in ("text_config", "vision_config", "audio_config"):
        inner = getattr(base, part, None)
        if inner is not None and not isinstance(inner, dict):
            options[part] = _options(inner, getattr(inner, "model_type", "")) | (
                {"model_type": inner.model_type} if inner.model_type else {}
            )
    return made(**options)


def _options(base: Any, kind: str) -> dict[str, Any]:
    options = {key: value for key, value in _SIZES.items() if _settable(base, key)}
    options |= {key: _SIZES[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    options |= _TYPES.get(kind, {}) | ({"is_decoder": True} if kind in _ENCODERS else {})
    if isinstance(getattr(base, "hidden_size", None), list | tuple):
        options.pop("hidden_size", None)
    if _settable(base, "kv_lora_rank"):  # latent attention: as many heads of keys as of queries
        options["num_key_value_heads"] = 4
    if getattr(base, "sliding_window", 0) is None:  # the class has windows and no default: off, but for the types above
        options.setdefault("sliding_window", None)
    types = getattr(base, "layer_types", None)
    if types and not {"layer_types", "layers_block_type"} & set(options) and _settable(base, "layer_types"):
        kinds = list(dict.fromkeys(types))
        count = max(2, len(kinds))
        options |= {"layer_types": (kinds * count)[:count], "num_hidden_layers": count}
    return {key: value for key, value in options.items() if value is not None or key == "sliding_window"}


def _settable(base: Any, key: str) -> bool:
    own = getattr(type(base), getattr(base, "attribute_map", {}).get(key, key), None)
    if isinstance(own, property) and own.fset is None:
        return False
    try:
        return hasattr(base, key)
    except Exception:
        return True


def _widen(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.is_floating_point():
                continue
            if parameter.dim() >= 2 and parameter.numel() > 256:
                spread = float(parameter.std())
                if spread < 0.06:
                    parameter.mul_(0.1 / max(spread, 1e-3))
            elif parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def prompts(batch: int, length: int, seed: int = 0) -> torch.Tensor:
    """Random ids without the special ones."""
    return torch.randint(3, VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(seed))


def padded(ids: torch.Tensor, by: int) -> Iterator[torch.Tensor]:
    """The ids with the second row padded on the left by so many, and their mask."""
    mask = torch.ones_like(ids)
    mask[1, :by] = 0
    yield torch.where(mask.bool(), ids, 0)
    yield mask
