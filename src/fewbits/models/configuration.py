"""`config.json`, read before anything is built from it: whose format it is, what the model is for, what speaks against it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from fewbits import configs
from fewbits.configs import CONFIG
from fewbits.errors import FewbitsError
from fewbits.models.loaded import Task
from fewbits.models.quiet import transformers
from fewbits.shards import present

_CODE: dict[Task, str] = {"causal-lm": "AutoModelForCausalLM", "image-classification": "AutoModelForImageClassification"}
Maker = Literal["fewbits", "timm", "transformers"]


def read_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a folder. Raises FewbitsError that says what the folder has instead, or what is wrong in it."""
    if not present(folder / CONFIG):
        raise FewbitsError(f"{folder}: has no {CONFIG}, so it is no model in transformers' format{_instead(folder)}")
    return configs.read_config(folder)


def maker_of(config: Mapping[str, Any]) -> Maker:
    """Who wrote the folder: fewbits (it is quantized), timm, or transformers."""
    if _quantized_by(config) == "fewbits":
        return "fewbits"
    return "timm" if "architecture" in config and "model_type" not in config else "transformers"


def check_original(folder: str, config: Mapping[str, Any]) -> None:
    """Raise FewbitsError for a model that another library has quantized."""
    if method := _quantized_by(config):
        raise FewbitsError(f"{folder}: is quantized already, by {method}: start from the original model")


def check_code(folder: str, config: Mapping[str, Any], *, trusted: bool) -> None:
    """Raise FewbitsError for a model type that transformers does not know, unless the folder's own code is trusted."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = config.get("model_type")
    if kind in CONFIG_MAPPING or (trusted and "auto_map" in config):
        return
    if "auto_map" in config:
        raise FewbitsError(
            f"{folder}: '{kind}' needs code from its own folder; read it, and if you trust it add --trust-remote-code"
            " (trust_remote_code=True)"
        )
    if kind is None:
        raise FewbitsError(f"{folder}: its {CONFIG} names no model_type, so transformers cannot tell what it is")
    raise FewbitsError(f"{folder}: transformers {transformers().__version__} does not know the model type '{kind}'")


def task_of(folder: str, config: Mapping[str, Any]) -> Task:
    """What a transformers model is for, from its architecture, or from its type where it names none.

    Raises FewbitsError for one that is neither a causal language model nor an image classifier.
    """
    from transformers.models.auto import modeling_auto as auto

    known: dict[Task, Any] = {
        "causal-lm": auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        "image-classification": auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    }
    registered: dict[Task, Any] = {
        "causal-lm": auto.MODEL_FOR_CAUSAL_LM_MAPPING,
        "image-classification": auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    }
    architectures = config.get("architectures") or ()
    for task, table in known.items():
        names = {*_flat(table.values()), *_registered(registered[task], config)}
        if names & set(architectures) or _CODE[task] in config.get("auto_map", ()):
            return task
    by_type: list[Task] = [task for task, table in known.items() if config.get("model_type") in table]
    if not architectures and len(by_type) == 1:
        return by_type[0]
    what = ", ".join(architectures) or f"model type '{config.get('model_type')}'"
    raise FewbitsError(
        f"{folder}: {what} is neither a causal language model nor an image classifier;"
        " quantize others in Python: fewbits.quantize(model, ...)"
    )


def labels_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the classes by index; empty where they are transformers' placeholders LABEL_0, LABEL_1, ..."""
    names = config.get("id2label") or {}
    if set(names) != {str(i) for i in range(len(names))}:
        return ()
    found = tuple(str(names[str(i)]) for i in range(len(names)))
    return () if found == tuple(f"LABEL_{i}" for i in range(len(found))) else found


def _quantized_by(config: Mapping[str, Any]) -> str | None:
    settings = config.get("quantization_config")
    return str(settings.get("quant_method", "another library")) if isinstance(settings, dict) else None


def _registered(table: Any, config: Mapping[str, Any]) -> Iterable[str]:
    """The name of the class that someone has registered with transformers for a type of configuration of their own."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind: Any = config.get("model_type")
    own = kind in CONFIG_MAPPING and not CONFIG_MAPPING[kind].__module__.startswith("transformers.")
    return [table[CONFIG_MAPPING[kind]].__name__] if own and CONFIG_MAPPING[kind] in table else []


def _flat(names: Iterable[str | tuple[str, ...]]) -> Iterable[str]:
    """A table has one class for a type, or several."""
    for name in names:
        yield from (name,) if isinstance(name, str) else name


def _instead(folder: Path) -> str:
    if (folder / "adapter_config.json").exists():
        return ": it is an adapter; merge it into its base model first"
    if any(folder.glob("*.gguf")):
        return ": GGUF files are not read; give the original model"
    inner = sorted(p.parent.name for p in folder.glob(f"*/{CONFIG}"))
    return f"; did you mean {folder / inner[0]}?" if inner else ""
