"""The settings of a model's configuration that are known to the fused steps; any other refuses the model."""

from collections.abc import Mapping
from typing import Any

# They do not change what a model in evaluation mode computes.
NEUTRAL = frozenset({
    "architectures", "model_type", "transformers_version", "torch_dtype", "dtype", "use_cache", "bos_token_id",
    "eos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id", "unk_token_id", "cls_token_id", "mask_token_id",
    "tokenizer_class", "id2label", "label2id", "problem_type", "num_labels", "return_dict", "output_hidden_states",
    "output_attentions", "chunk_size_feed_forward", "initializer_range", "name_or_path", "max_sequence_length",
    "quantization_config",
    "transformers_weights",
    "task_specific_params", "finetuning_task", "auto_map", "unsloth_version", "unsloth_fixed", "transformers.js_config",
    "tie_word_embeddings", "attention_dropout", "hidden_dropout", "residual_dropout", "embedding_dropout", "resid_pdrop",
    "embd_pdrop", "attn_pdrop", "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels",
    "summary_first_dropout", "n_ctx", "prefix", "ignore_keys_at_rope_validation",
    "base_model_tp_plan", "base_model_pp_plan", "base_model_ep_plan",
})  # fmt: skip
# Their effect is read from the modules, or structure.py checks them.
READ = frozenset({
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
    "vocab_size", "max_position_embeddings", "original_max_position_embeddings", "rope_theta", "rope_scaling",
    "rope_parameters", "partial_rotary_factor", "sliding_window", "use_sliding_window", "max_window_layers", "layer_types",
    "hidden_act", "rms_norm_eps", "norm_epsilon", "layer_norm_epsilon", "attention_bias", "attention_out_bias", "mlp_bias",
    "use_bias", "attention_multiplier", "n_positions", "n_embd", "n_layer", "n_head", "n_inner", "activation_function",
    "scale_attn_weights",
})  # fmt: skip
# They are known with these values alone.
ONLY: Mapping[str, tuple[Any, ...]] = {
    "pretraining_tp": (1,),
    "rope_interleaved": (False,),
    "is_llama_config": (True,),
    "mlp_type": ("default",),
    "norm_type": ("layer_norm",),
    "attention_softmax_in_fp32": (True,),
    "scale_attention_softmax_in_fp32": (True,),
    "is_encoder_decoder": (False,),
    "is_decoder": (False, True),
    "add_cross_attention": (False,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "embedding_multiplier": (1,),
    "logits_scaling": (1,),
    "residual_multiplier": (1,),
}
ATTENTIONS = (None, "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")


def is_known(name: str, value: Any) -> bool:
    """Whether a setting with this value does not change what a recognised model computes, or is read from its modules."""
    if name in NEUTRAL or name in READ:
        return True
    return any(value == allowed for allowed in ONLY.get(name, ()))
