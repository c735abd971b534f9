"""What safetensors files hold, from their headers: each tensor's name, shape and dtype, without reading it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fewbits.data.names import one_line
from fewbits.errors import FewbitsError
from fewbits.files import check_file

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
    "U16": torch.uint16, "U32": torch.uint32, "U64": torch.uint64,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A tensor in a file. `kind` is the dtype as safetensors calls it; `dtype` is None if torch has none for it."""

    path: Path
    shape: tuple[int, ...]
    kind: str

    @property
    def dtype(self) -> torch.dtype | None:
        return _DTYPES.get(self.kind)


def stored(paths: Iterable[Path], *, same_twice: bool = False) -> dict[str, Stored]:
    """The tensors of some files.

    Args:
        paths: The files.
        same_twice: Allow one name in two files, if both hold the same numbers.

    Raises:
        FewbitsError: A file is damaged, or two files hold a tensor of the same name.
    """
    found: dict[str, Stored] = {}
    for path in paths:
        with opened(path) as file:
            for name in sorted(file.keys()):
                if name in found and not (same_twice and _is_same(file, name, found[name].path)):
                    raise FewbitsError(f"tensor {name}: is in {found[name].path} and in {path.name}: which one is right?")
                part = file.get_slice(name)
                found[name] = Stored(path=path, shape=tuple(part.get_shape()), kind=str(part.get_dtype()))
    return found


def opened(path: Path) -> safe_open:
    """An open safetensors file, to be used in a `with` block.

    Raises:
        FewbitsError: It is no readable file, or is truncated or damaged.
    """
    check_file(path)
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError, ValueError) as error:
        raise FewbitsError(
            f"{path}: is truncated or no safetensors file ({one_line(error)}): copy or download it again"
        ) from None


def _is_same(file: safe_open, name: str, other: Path) -> bool:
    with opened(other) as before:
        one, two = tensor(file, name, other), tensor(before, name, other)
        return one.dtype == two.dtype and torch.equal(one, two)


def tensor(file: safe_open, name: str, path: Path) -> Tensor:
    """A tensor of an open file. Raises FewbitsError if torch cannot hold it."""
    try:
        return file.get_tensor(name)
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise FewbitsError(f"{path}: tensor {name} cannot be read: {one_line(error)}") from None
