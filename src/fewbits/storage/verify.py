"""A folder that was just written, loaded again and compared with the model, before it gets its name."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from fewbits.errors import FewbitsError
from fewbits.models.bounded import Bound
from fewbits.storage import skeleton, tensors
from fewbits.storage.live import library_of
from fewbits.storage.manifest import Manifest


def verify(model: nn.Module, folder: Path) -> None:
    """Load a folder and hold every tensor against the model's.

    A second copy of the quantized model is needed for that. If memory is short, or only its user can build the model, the
    stored tensors are compared one by one and the model is not built.

    Raises:
        FewbitsError: The folder would not load, or not as the same model. One line.
    """
    try:
        manifest = Manifest.read(folder)
        _compare_stored(model, folder, manifest)
        again = _loaded(model, folder, manifest)
        if again is not None:
            _compare(model, again)
    except FewbitsError as error:
        text = str(error).replace(f"{folder}: ", "").replace(str(folder), folder.name)
        raise FewbitsError(f"the saved model would not load again, so it was not kept: {text}") from None


def _loaded(model: nn.Module, folder: Path, manifest: Manifest) -> nn.Module | None:
    """The model as it is read from the folder; None if only its user can build it, or memory is short."""
    from fewbits.storage.load import bound_of, filled  # here: loading needs what saving needs

    if manifest.library == "torch":
        return None
    paths = tensors.files_of(folder)
    if sum(path.stat().st_size for path in paths) > _memory() // 2:
        _check_shapes(_empty(model, folder, bound_of(paths)), manifest, paths)
        return None
    if manifest.library == "transformers":
        return skeleton.transformers_model(folder, manifest, None, bound_of(paths), kind=_kind(model))
    return filled(folder, paths, manifest, None, torch.device("cpu"), None)


def _kind(model: nn.Module) -> Any:
    """The class of a model that has its own; None for those that config.json names."""
    return None if type(model).__module__.startswith("transformers.") else type(model)


def _memory() -> int:
    return psutil.virtual_memory().available


def _empty(model: nn.Module, folder: Path, bound: Bound) -> nn.Module:
    """The model of a folder's configuration, without its weights."""
    if library_of(model) == "timm":
        return skeleton.build_timm(folder, bound)
    return skeleton.empty_transformers_model(folder, kind=_kind(model))


def _check_shapes(empty: nn.Module, manifest: Manifest, paths: list[Path]) -> None:
    quantized = skeleton.prepare(empty, manifest.plan, torch.device("meta"))
    tensors.check(quantized, tensors.stored(paths), manifest.tied)


def _compare_stored(model: nn.Module, folder: Path, manifest: Manifest) -> None:
    """Compare all that is in the files with the model's state, byte for byte, one tensor at a time."""
    state = model.state_dict()
    paths = tensors.files_of(folder)
    tensors.check(model, tensors.stored(paths), manifest.tied)
    for name, tensor in tensors.read(paths):
        if name in state and not _same(state[name], tensor):
            raise FewbitsError(f"tensor {name}: what is in the file differs from the model's")


def _compare(model: nn.Module, again: nn.Module) -> None:
    state = again.state_dict()
    for name, tensor in model.state_dict().items():
        if name not in state or not _same(tensor, state[name]):
            raise FewbitsError(f"tensor {name}: {'differs' if name in state else 'is missing'} after loading")
    buffers = dict(_not_stored(again))
    for name, tensor in _not_stored(model):
        other = buffers.get(name)
        if other is None or other.shape != tensor.shape or other.dtype != tensor.dtype:
            raise FewbitsError(f"buffer {name}: is not saved, and the configuration does not make the same one")


def _not_stored(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for module, name, full in tensors.not_stored(model):
        yield full, module.get_buffer(name)


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have the same bytes: NaN is equal to itself."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    a, b = (t.detach().cpu().contiguous().reshape(-1) for t in (a, b))
    return torch.equal(a.view(torch.uint8), b.view(torch.uint8)) if a.numel() else True
