"""Loading a model by its name, with its tokenizer or image processor."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fewbits.data.hub import snapshot
from fewbits.data.processor import ImageProcessor
from fewbits.errors import FewbitsError
from fewbits.models import configuration, timm_model
from fewbits.models.bounded import bounded
from fewbits.models.loaded import Loaded, Task
from fewbits.models.names import Name, resolve
from fewbits.models.options import Options, parse_device, parse_dtype
from fewbits.models.outline import outline_of
from fewbits.models.tokenizer import tokenizer_of
from fewbits.models.weights import bound_of, check_no_adapter

# Of a hub's repository, what a model in transformers' format is made of; subfolders hold other formats' files.
_ONLY = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "tokenizer*")
_LEAVE = ("*/*", "consolidated*")


def load(
    name: str | Path,
    *,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device = "cpu",
    trust_remote_code: bool = False,
    classes: int | None = None,
    weights: bool = True,
) -> Loaded:
    """Load a model in eval mode, with all that came with it.

    `name` is `demo`, `demo-vision`, `timm/NAME`, a folder (of transformers, timm or fewbits), or a hub id, `owner/name` or
    `owner/name@revision`; only hub ids and timm names need the network. `dtype` "auto" is as stored. `classes` is the number
    of classes of a timm model. Without `weights` the model is built on the meta device from its configuration alone, and has
    no tokenizer.

    Raises FewbitsError, in one line, for a name that is nothing, a folder that is no model, an architecture that is neither a
    causal language model nor an image classifier, code that is not trusted, weights that are not whole or not safetensors, a
    hub out of reach, and a missing package.
    """
    options = Options(
        dtype=parse_dtype(dtype),
        device=parse_device(device),
        trust_remote_code=trust_remote_code,
        classes=classes,
        weights=weights,
    )
    if classes is not None and classes < 1:
        raise FewbitsError(f"a classifier of {classes} classes makes no sense")
    return _load(name, options)


def _load(name: str | Path, options: Options) -> Loaded:
    found = resolve(name)
    if found.kind == "timm":
        model = timm_model.load(found.text, options)
        return _timm(model, name=str(name), source=f"timm/{found.text}")
    folder = found.folder or _fetch(found, options)
    return replace(_from_folder(folder, options, called=str(name)), name=str(name), source=_source(found, folder))


def load_original(source: str, *, classes: int | None = None, device: str | torch.device = "cpu") -> Loaded:
    """Load the model that a saved folder names as its original.

    The folder may come from anywhere, so its word is not the user's: nothing is downloaded and no code is run for it.

    Raises:
        FewbitsError: As `load` does; and if the original is on the hub and not in the local cache.
    """
    try:
        return _load(source, Options(device=parse_device(device), classes=classes, cached_only=True))
    except FewbitsError as error:
        raise FewbitsError(f"{error}; name it yourself to have it fetched (--reference {source})") from error


def describe(
    model: nn.Module, folder: Path, config: Mapping[str, Any], task: Task, *, called: str, tokenizer: Any = None
) -> Loaded:
    """A model with the processor and labels that lie in its folder beside the weights."""
    vision = task == "image-classification"
    return Loaded(
        model=model,
        name=called,
        source=str(folder),
        task=task,
        tokenizer=tokenizer,
        processor=ImageProcessor.read(folder) if vision else None,
        labels=configuration.labels_of(config) if vision else (),
        num_classes=_num_classes(model) if vision else None,
        folder=folder,
    )


def _from_folder(folder: Path, options: Options, *, called: str) -> Loaded:
    config = configuration.read_config(folder)
    check_no_adapter(folder)
    maker = configuration.maker_of(config)
    if options.classes is not None and maker != "timm":
        raise FewbitsError(f"{called}: a number of classes can be chosen for timm/NAME only; this model brings its own")
    if maker == "fewbits":
        from fewbits.storage.load import load_folder

        trusted = {"trust_remote_code": True} if options.trust_remote_code else {}
        return load_folder(folder, dtype=options.dtype or "auto", device=options.device, **trusted)
    if maker == "timm":
        model = timm_model.load_folder(folder, config, options, called=called)
        loaded = _timm(model, name=called, source=str(folder))
        return replace(loaded, labels=timm_model.labels_of(config), folder=folder)
    from fewbits.models import transformers_model

    model, task = transformers_model.load(folder, config, options, called=called)
    tokenizer = None
    if task == "causal-lm" and options.weights:
        tokenizer = tokenizer_of(folder, trust_remote_code=options.trust_remote_code)
    return describe(model, folder, config, task, called=called, tokenizer=tokenizer)


def _timm(model: nn.Module, *, name: str, source: str) -> Loaded:
    return Loaded(
        model=model,
        name=name,
        source=source,
        task="image-classification",
        processor=timm_model.processor_of(model),
        num_classes=_num_classes(model),
    )


def shapes(name: str | Path, *, trust_remote_code: bool = False, classes: int | None = None) -> nn.Module:
    """A model on the meta device, for what only looks at shapes: without importing transformers where the outline is known.

    Raises FewbitsError as `load` does.
    """
    found = resolve(name)
    if found.kind != "timm" and classes is None:
        options = Options(trust_remote_code=trust_remote_code, weights=False)
        folder = found.folder or _fetch(found, options)
        check_no_adapter(folder)
        with bounded(bound_of(folder)):
            outline = outline_of(configuration.read_config(folder))
        if outline is not None:
            return outline
    return load(name, weights=False, trust_remote_code=trust_remote_code, classes=classes).model


def _fetch(found: Name, options: Options) -> Path:
    """A hub's model in the local cache: its configuration alone where no weights are wanted."""
    only = _ONLY if options.weights else ("config.json",)
    if options.trust_remote_code:
        only = (*only, "*.py")
    instead = "give a local folder with config.json and safetensors instead of the hub id"
    try:
        return snapshot(
            found.text,
            revision=found.revision,
            only=only,
            leave=_LEAVE,
            instead=instead,
            cached_only=options.cached_only,
        )
    except FewbitsError as error:
        raise FewbitsError(f"there is no folder '{found.text}' here, and {error}") from error


def _source(found: Name, folder: Path) -> str:
    """A name that means the same tomorrow: the hub id with its commit, the absolute folder, `demo`."""
    if found.kind == "hub":
        return f"{found.text}@{folder.name}"
    return found.text if found.kind == "demo" else str(folder)


def _num_classes(model: nn.Module) -> int | None:
    count = getattr(model, "num_classes", None) or getattr(getattr(model, "config", None), "num_labels", None)
    return count if isinstance(count, int) and count > 0 else None
