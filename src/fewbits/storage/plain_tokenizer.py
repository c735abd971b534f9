"""Whether a tokenizer is all in its `tokenizer.json`, so that transformers would add nothing to it."""

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")  # they compute what tokenizer.json says
_NEUTRAL = frozenset({
    "backend", "tokenizer_class", "model_max_length", "name_or_path", "is_local", "local_files_only", "padding_side",
    "truncation_side", "model_input_names", "chat_template", "processor_class",
})  # fmt: skip
_NAMED = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")
_LISTS = ("additional_special_tokens", "extra_special_tokens")
_OFF = ("clean_up_tokenization_spaces", "add_bos_token", "add_eos_token", "add_prefix_space", "split_special_tokens")
_FLAGS = ("content", "special", "lstrip", "rstrip", "normalized", "single_word")
_KEPT_SPACES = "clean_up_tokenization_spaces_for_bpe"  # a release with this setting leaves the spaces of BPE as they are


def why_not(folder: Path) -> str | None:
    """What transformers may add to the folder's tokenizer, in words; None if nothing."""
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        return _why_not(settings, tokenizer)
    except (OSError, ValueError, RecursionError, AttributeError, KeyError, TypeError, IndexError) as error:
        return f"its files cannot be read ({type(error).__name__})"


def _why_not(settings: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> str | None:
    if settings.get("tokenizer_class") not in CLASSES or tokenizer["model"]["type"] != "BPE":
        return "it is of another class"
    added = {str(token["id"]): token for token in tokenizer.get("added_tokens") or ()}
    special = {token["content"] for token in added.values() if token["special"]}
    for name, value in settings.items():
        if name in _NEUTRAL or value is None or value == [] or value == {}:
            continue
        if name in _NAMED:
            fits = _content(value) in special
        elif name in _LISTS:
            fits = isinstance(value, list) and all(_content(token) in special for token in value)
        elif name == "added_tokens_decoder":
            fits = all(_same(token, added.get(index)) for index, token in value.items())
        else:
            fits = name in _OFF and (value is False or (name == _OFF[0] and _keeps_spaces()))
        if not fits:
            return f"it sets {name}"
    return None


def _content(token: Any) -> Any:
    return token["content"] if isinstance(token, Mapping) else token


def _same(token: Mapping[str, Any], known: Mapping[str, Any] | None) -> bool:
    return known is not None and all(token.get(flag, False) == known.get(flag, False) for flag in _FLAGS)


def _keeps_spaces() -> bool:
    """Whether the installed transformers leaves the spaces of BPE as they are; found without importing it."""
    spec = importlib.util.find_spec("transformers")
    source = Path(spec.origin).with_name("tokenization_utils_tokenizers.py") if spec and spec.origin else None
    return source is not None and source.is_file() and _KEPT_SPACES in source.read_text(encoding="utf-8")
