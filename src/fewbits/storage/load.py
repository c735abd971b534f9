"""A saved folder to a model in memory, bit for bit."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fewbits.errors import FewbitsError
from fewbits.models.options import parse_device, parse_dtype
from fewbits.models.weights import check_no_adapter
from fewbits.storage import contents, dtypes, headers, skeleton, stored_scales, tensors
from fewbits.storage.live import library_of, remember_source, settle
from fewbits.storage.manifest import Manifest, is_saved_by_fewbits, read_config

if TYPE_CHECKING:
    from fewbits.models.bounded import Bound
    from fewbits.models.loaded import Loaded, Task


def load(
    folder: str | Path,
    *,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device = "cpu",
    model: nn.Module | None = None,
    trust_remote_code: bool = False,
) -> nn.Module:
    """Load a folder that `fewbits.save` wrote, in evaluation mode.

    `dtype` is that of the floats that are not quantized, and of what is computed; "auto" gives every tensor back as it was
    saved. A model of a class of your own is given as `model`, a float model of the same shape, which is filled in place.

    `trust_remote_code` allows the folder's own Python files to run, for a model whose class is in them.

    Needs no more memory than the quantized model: the float weights are never built. Raises FewbitsError that names the file
    or tensor: a file that was truncated or altered, an unknown format version, tensors that do not fit, no such class.
    """
    folder = Path(folder)
    manifest = Manifest.read(folder)
    check_no_adapter(folder)
    wanted, place = parse_dtype(dtype), parse_device(device)
    paths = contents.checked_files(folder, manifest.files)
    if model is None and manifest.library == "transformers":
        loaded = skeleton.transformers_model(folder, manifest, wanted, bound_of(paths), trust_remote_code=trust_remote_code)
        stored_scales.check(loaded)
        loaded = loaded.to(place)
    else:
        loaded = filled(folder, paths, manifest, wanted, place, model)
    remember_source(loaded, manifest.source)
    return loaded.eval()


def original_of(folder: str | Path) -> str | None:
    """The model that a saved folder was quantized from: a hub id, an absolute path, `timm/NAME`, `demo`.

    None where it is not known, and for what is no folder saved by fewbits.
    """
    return Manifest.read(Path(folder)).source if is_saved_by_fewbits(Path(folder)) else None


def load_folder(
    path: str | Path,
    *,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device = "cpu",
    trust_remote_code: bool = False,
) -> "Loaded":
    """Load a saved folder with its tokenizer or processor, as `fewbits.models` gives any other model.

    Raises FewbitsError as `load` does.
    """
    from fewbits.models import timm_model
    from fewbits.models.loading import describe
    from fewbits.models.tokenizer import tokenizer_of

    folder = Path(path).resolve()
    model = load(folder, dtype=dtype, device=device, trust_remote_code=trust_remote_code)
    config = read_config(folder)
    task = _task_of(model, config)
    tokenizer = tokenizer_of(folder, trust_remote_code=trust_remote_code) if task == "causal-lm" else None
    loaded = describe(model, folder, config, task, called=str(path), tokenizer=tokenizer)
    if library_of(model) == "timm":
        processor = loaded.processor or timm_model.processor_of(model)
        return replace(loaded, labels=timm_model.labels_of(config), processor=processor)
    return loaded


def _task_of(model: nn.Module, config: dict[str, Any]) -> "Task":
    from fewbits.models.configuration import task_of

    if library_of(model) == "timm":
        return "image-classification"
    try:
        return task_of("", config)
    except FewbitsError:  # neither a language model nor a classifier, which may be saved all the same
        return "other"


def bound_of(paths: list[Path]) -> "Bound":
    """The largest model that weight files can be of."""
    from fewbits.models.bounded import Bound

    return Bound.of_files(len(headers.stored(paths)), sum(path.stat().st_size for path in paths))


def filled(
    folder: Path,
    paths: list[Path],
    manifest: Manifest,
    dtype: torch.dtype | None,
    device: torch.device,
    model: nn.Module | None,
) -> nn.Module:
    """Build a skeleton, or take the user's, and fill it."""
    if model is None and manifest.library == "torch":
        name = (read_config(folder).get("architectures") or ["model"])[0]
        raise FewbitsError(f"{folder}: holds a {name}, a class of your own: load(folder, model={name}(...)) fills one")
    model = skeleton.build_timm(folder, bound_of(paths)) if model is None else model
    model = skeleton.prepare(model, manifest.plan, device)
    tensors.fill(model, paths, tied=manifest.tied, dtype=dtype, device=device)
    skeleton.complete(model)
    stored_scales.check(model)
    settle(model, manifest.plan)
    dtypes.restore(model, dtypes.parse(manifest.dtype), manifest.dtypes)
    if dtype is not None:
        dtypes.restore(model, dtype, {})
    return model.to(device)
