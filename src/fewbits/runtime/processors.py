"""Whether a model's `generation_config` changes logits before a token is chosen: then every step needs all of them, in Python."""

from typing import Any

# settings of transformers' GenerationConfig, and the values that change nothing
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "repetition_penalty": (1, None),
    "encoder_repetition_penalty": (1, None),
    "no_repeat_ngram_size": (0, None),
    "encoder_no_repeat_ngram_size": (0, None),
    "min_length": (0, None),
    "min_new_tokens": (0, None),
    "guidance_scale": (1, None),
    "remove_invalid_values": (False, None),
    "bad_words_ids": (None,),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "suppress_tokens": (None,),
    "begin_suppress_tokens": (None,),
    "sequence_bias": (None,),
    "exponential_decay_length_penalty": (None,),
    "watermarking_config": (None,),
}


def has_processors(model: Any) -> bool:
    """Whether penalties, bans or forced tokens are set."""
    settings = getattr(model, "generation_config", None)
    return any(getattr(settings, name, neutral[0]) not in neutral for name, neutral in _NEUTRAL.items())
