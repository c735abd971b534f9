"""`config.json` of a folder, checked before anything is built from it.

A library that builds a model takes what it says: 2^31 layers are built until memory ends, and some keys name code or weights
on the hub. Both are refused here, for folders of transformers, timm and fewbits alike.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fewbits.errors import FewbitsError, shown
from fewbits.files import check_folder, read_object
from fewbits.shards import INDEX, SINGLE, present

CONFIG = "config.json"
GENERATION = "generation_config.json"
MOST_LAYERS = 2048  # the deepest published models have 1,000
MOST_LABELS = 2**20
MOST_SIZE = 2**26  # of a width, a vocabulary, positions; the largest are 2^24
_TYPES: dict[str, type] = {
    "architectures": list, "model_type": str, "auto_map": dict, "id2label": dict, "quantization_config": dict,
    "architecture": str, "model_args": dict, "pretrained_cfg": dict, "label_names": list, "transformers_version": str,
}  # fmt: skip
_LAYERS = re.compile(r"(^|_)(layers|n_layer|depths?|blocks|stages)$")  # how many there are; `feature_layer` is an index
_COUNTS = re.compile(
    r"(_size|_dim|_heads|_channels|_experts|n_embd|n_head|d_model|d_ff|n_inner|embed_dim|position_embeddings)$"
)
_WEIGHTS_FROM = {"pretrained", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"}  # timm's


def read_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a folder.

    Raises:
        FewbitsError: It is missing, no JSON object, has an entry of a wrong type, asks for more than can be built, or names
            code or weights elsewhere; or a file beside it is no regular file.
    """
    path = folder / CONFIG
    config = read_object(path)
    check_folder(folder)
    try:
        _check_types(config)
        check_sizes(config)
        check_references(config)
        _check_tokens(config)
        if present(path := folder / GENERATION):
            _check_tokens(read_object(path))
    except FewbitsError as error:
        text = str(error)
        raise FewbitsError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    return config


def check_sizes(config: Mapping[Any, Any]) -> None:
    """Raise FewbitsError for a number of layers, or a size, that no model has."""
    for key, value in _numbers(config):
        if isinstance(value, bool) or not isinstance(value, int):
            continue
        if _LAYERS.search(key) and not 0 <= value <= MOST_LAYERS:
            raise FewbitsError(f"{key} is {shown(value)}: 0 to {MOST_LAYERS} are possible: was the file changed?")
        if key == "num_labels" and not 0 <= value <= MOST_LABELS:
            raise FewbitsError(f"{key} is {shown(value)}: 0 to {MOST_LABELS} are possible: was the file changed?")
        if _COUNTS.search(key) and not -1 <= value <= MOST_SIZE:
            raise FewbitsError(f"{key} is {shown(value)}: at most {MOST_SIZE} are possible: was the file changed?")
    if config.get("num_hidden_layers") == 0:
        raise FewbitsError("num_hidden_layers is 0: a model without layers: was the file changed?")


def check_references(config: Mapping[Any, Any]) -> None:
    """Raise FewbitsError for an entry that makes a library fetch code or weights from elsewhere.

    A folder is to be complete: only what the user names is fetched from the hub, and only its own code is ever run, if the
    user trusts it.
    """
    for key, value in _entries(config):
        if key.removesuffix("_internal").endswith("_implementation") and any("/" in text for text in _texts(value)):
            raise FewbitsError(f"{key} names code on the hub, {shown(value)}: remove this entry")
        if key == "auto_map" and (repositories := [text for text in _texts(value) if "--" in text]):
            raise FewbitsError(
                f"auto_map names code of another repository, {shown(repositories[0])}: copy the code into this folder and"
                " name it without 'owner/name--'"
            )
        if key == "use_pretrained_backbone" and value:
            raise FewbitsError(f"{key} is {shown(value)}: weights of a backbone are not fetched: set it to false")
        if key == "model_args" and isinstance(value, Mapping) and (found := sorted(_WEIGHTS_FROM & value.keys())):
            raise FewbitsError(f"model_args has {found[0]}: a model's weights are those of its own folder: remove this entry")
        if key == "transformers_weights" and value not in (None, SINGLE, INDEX) and not _is_marker(value):
            raise FewbitsError(f"transformers_weights names other weights, {shown(value)}: remove this entry")
        if key == "architecture" and isinstance(value, str) and (":" in value or "/" in value):
            raise FewbitsError(f"architecture is {shown(value)}: a name of timm's is wanted, without a source before it")


def _is_marker(value: Any) -> bool:
    """Whether it is the sentence for readers without fewbits (see storage/marker.py), which is taken out."""
    return isinstance(value, str) and value.startswith("this model was quantized by fewbits:")


def _check_tokens(settings: Mapping[str, Any]) -> None:
    """Raise FewbitsError for special tokens that are no whole numbers, nor lists of them."""
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        value = settings.get(key)
        tokens = value if isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(token, int) and not isinstance(token, bool) and abs(token) < 2**31 for token in tokens):
            raise FewbitsError(f"{key} is {shown(value)}, not the number of a token: was the file changed?")


def _check_types(config: Mapping[Any, Any]) -> None:
    for key, kind in _TYPES.items():
        value = config.get(key)
        if value is not None and not isinstance(value, kind):
            raise FewbitsError(f"{key} is {shown(value)}, not a JSON {_NAMES[kind]}: copy or download it again")
    for key in ("architectures", "label_names"):
        if odd := [value for value in config.get(key) or () if not isinstance(value, str)]:
            raise FewbitsError(f"{key} holds {shown(odd[0])}, not a name: copy or download it again")


_NAMES = {list: "array", str: "string", dict: "object"}


def _numbers(config: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in _entries(config):
        if isinstance(value, list) and ("depth" in key or key.startswith("num_")):
            yield from ((key, each) for each in value)
        else:
            yield key, value


def _entries(config: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Every key and value, of the configurations inside it too; `files.read_json` has bounded the depth."""
    for key, value in config.items():
        yield str(key), value  # in memory, `id2label` has whole numbers
        if isinstance(value, Mapping) and key != "quantization_config":
            yield from _entries(value)
        elif isinstance(value, list):
            for each in value:
                if isinstance(each, Mapping):
                    yield from _entries(each)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
