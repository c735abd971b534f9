"""A model's tensors to safetensors files, sharded as transformers does, and back into a model's skeleton."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from fewbits.errors import FewbitsError
from fewbits.progress import track
from fewbits.shards import INDEX
from fewbits.storage import checksums, contents, headers
from fewbits.storage.marker import guard_names

_UNITS = (
    {"B": 1}
    | {f"{p}B": 10 ** (3 * i) for i, p in enumerate("KMGT", 1)}
    | {f"{p}IB": 2 ** (10 * i) for i, p in enumerate("KMGT", 1)}
)
_SIZE = re.compile(r"(?P<number>[0-9]{1,15}(?:\.[0-9]{1,9})?) ?(?P<unit>B|[KMGT]I?B)?", re.IGNORECASE | re.ASCII)
_LARGEST = 2**63 - 1


def unique(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a model's state, each once, and the names under which one is found again: {again: first}.

    Raises FewbitsError for what cannot be stored: tensors that are not in memory, and state that is no tensor.
    """
    tensors: dict[str, Tensor] = {}
    first_at: dict[tuple[object, ...], str] = {}
    tied: dict[str, str] = {}
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, Tensor):
            raise FewbitsError(f"{name}: is a {type(tensor).__name__}; only tensors can be saved")
        if tensor.is_meta:
            raise FewbitsError(f"{name}: is not in memory (the meta device): load the model whole before it is saved")
        place = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.numel() or name)
        if (first := first_at.setdefault(place, name)) != name:
            tied[name] = first
        else:
            tensors[name] = tensor
    return tensors, tied


def write(tensors: Mapping[str, Tensor], folder: Path, max_shard_size: int | str) -> dict[str, str]:
    """Write the tensors, and an index if one file is not enough. Returns the sha256 of each file.

    Raises:
        OSError: The disk does not take them.
        FewbitsError: `max_shard_size` is not a size.
    """
    sizes = {name: torch.empty(tensor.shape, dtype=tensor.dtype, device="meta") for name, tensor in tensors.items()}
    split = split_torch_state_dict_into_shards(
        sizes, filename_pattern="model{suffix}.safetensors", max_shard_size=shard_bytes(max_shard_size)
    )
    for file, names in track(split.filename_to_tensors.items(), "saving", unit="file"):
        _write_file({name: _whole(tensors[name]) for name in names}, folder / file)
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return checksums.of_files(folder / file for file in split.filename_to_tensors)


def shard_bytes(size: int | str) -> int:
    """The bytes of a `max_shard_size`: a number, or a text such as '500MB', '1.5GB' or '2GiB'.

    Raises:
        FewbitsError: It is not a size, or less than one byte.
    """
    found = None if isinstance(size, bool) else _SIZE.fullmatch(str(size).strip())
    nbytes = int(float(found["number"]) * _UNITS[(found["unit"] or "B").upper()]) if found else 0
    if not 1 <= nbytes <= _LARGEST:
        raise FewbitsError(f"max_shard_size is bytes, or a text such as '500MB' or '5GB', not {str(size)[:60]!r}")
    return nbytes


def fill(
    model: nn.Module, paths: Iterable[Path], *, tied: Mapping[str, str], dtype: torch.dtype | None, device: torch.device
) -> None:
    """Read the tensors into a model, in place of those of its state; floats are cast to `dtype` if one is given.

    One tensor is read at a time, so this needs no more memory than what is read. Raises FewbitsError that names the first
    tensor which is missing, unexpected or of another shape.
    """
    paths = list(paths)
    guards = guard_names(model)
    have = headers.stored(paths)
    check(model, {name: tensor.shape for name, tensor in have.items()}, tied)
    check_dtypes(model, have)
    for path in paths:
        with headers.opened(path) as file:
            for name in sorted(set(file.keys()) - guards):
                _put(model, name, _as(headers.tensor(file, name, path), dtype, device))
    for again, first in tied.items():
        _share(model, again, first)


def check(model: nn.Module, have: Mapping[str, tuple[int, ...]], tied: Mapping[str, str]) -> None:
    """Raise FewbitsError unless the stored names and shapes are those of the model."""
    want = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for again, first in tied.items():
        if again not in want or first not in want or first not in have or want[again] != want[first]:
            raise FewbitsError(f"tensor {again}: is tied to {first} in config.json, but not in the model: is it another model?")
    for name in want:
        if name not in have and name not in tied:
            raise FewbitsError(f"tensor {name}: is missing from the saved files: was it saved from another model?")
    guards = guard_names(model)
    for name, shape in have.items():
        if name in guards and len(shape) == 1:
            continue
        if name not in want:
            raise FewbitsError(f"tensor {name}: is in the saved files, but not in the model: is it another model?")
        if shape != want[name]:
            raise FewbitsError(
                f"tensor {name}: is saved as {_shape(shape)}, but the model's is {_shape(want[name])}: is it another model?"
            )


def check_dtypes(model: nn.Module, have: Mapping[str, headers.Stored]) -> None:
    """Raise FewbitsError unless whole numbers are stored for whole numbers, of the same type, and floats for floats."""
    for name, tensor in model.state_dict().items():
        found = have.get(name)
        if found is None:  # it is tied
            continue
        if found.dtype is None or (found.dtype != tensor.dtype and not _both_float(found.dtype, tensor.dtype)):
            want = "floats" if tensor.is_floating_point() else tensor.dtype
            raise FewbitsError(
                f"tensor {name}: is saved as {found.dtype or found.kind}, but the model's is {want}: is it another model?"
            )


def _both_float(*kinds: torch.dtype) -> bool:
    return all(kind in (torch.float64, torch.float32, torch.bfloat16, torch.float16) for kind in kinds)


def stored(paths: Iterable[Path]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in some files. Raises FewbitsError as `headers.stored` does."""
    return {name: tensor.shape for name, tensor in headers.stored(paths).items()}


def read(paths: Iterable[Path]) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors in some files, one at a time; a tensor is a view into its file."""
    for path in paths:
        with headers.opened(path) as file:
            for name in sorted(file.keys()):
                yield name, headers.tensor(file, name, path)


def files_of(folder: Path) -> list[Path]:
    """The weight files of a saved folder. Raises FewbitsError as `contents.weight_files` does."""
    return contents.weight_files(folder)


def not_stored(model: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """The buffers of a model that are not part of its state: module, name in it, full name."""
    for prefix, module in model.named_modules():
        for name in sorted(module._non_persistent_buffers_set):
            if module._buffers[name] is not None:
                yield module, name, f"{prefix}.{name}" if prefix else name


def _write_file(tensors: dict[str, Tensor], path: Path) -> None:
    path.touch()
    usual = path.stat().st_mode  # safetensors lets nobody but the owner read what it writes
    try:
        save_file(tensors, path, metadata={"format": "pt"})
        path.chmod(usual)
    except SafetensorError as error:
        system = re.search(r"os error (\d+)", str(error))  # safetensors hides the operating system's error in its text
        if system is None:
            raise FewbitsError(f"{path.name}: {error}") from error
        raise OSError(int(system[1]), os.strerror(int(system[1])), str(path)) from error


def _whole(tensor: Tensor) -> Tensor:
    """The tensor with memory of its own: a view of something larger would have all of that beside it."""
    alone = tensor.untyped_storage().nbytes() == tensor.nbytes
    return tensor.contiguous() if alone else tensor.clone(memory_format=torch.contiguous_format)


def _as(tensor: Tensor, dtype: torch.dtype | None, device: torch.device) -> Tensor:
    """The tensor in memory of its own.

    What safetensors gives is a view into the file: gone with it, and at any address. torch allocates at multiples of
    64 bytes, and some of its kernels sum in another order at other addresses, so that the logits of what was loaded
    would differ in their last bit from those of what was saved.
    """
    return tensor.to(device, dtype if tensor.is_floating_point() else None, copy=True)


def _put(model: nn.Module, name: str, tensor: Tensor) -> None:
    path, _, last = name.rpartition(".")
    module = model.get_submodule(path)
    old = module._parameters.get(last)
    if old is None:
        module._buffers[last] = tensor
    else:
        module._parameters[last] = nn.Parameter(tensor, requires_grad=old.requires_grad)


def _share(model: nn.Module, again: str, first: str) -> None:
    path, _, last = again.rpartition(".")
    owner_path, _, owner_last = first.rpartition(".")
    module, owner = model.get_submodule(path), model.get_submodule(owner_path)
    if owner_last in owner._parameters:
        module._parameters[last] = owner._parameters[owner_last]
    else:
        module._buffers[last] = owner._buffers[owner_last]


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a scalar"
