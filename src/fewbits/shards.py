"""The weight files of a folder in transformers' layout: `model.safetensors`, or the shards that an index names."""

from pathlib import Path

from fewbits.errors import FewbitsError, shown
from fewbits.files import check_file, check_inside, read_object

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
SUFFIX = ".safetensors"


def weight_map(folder: Path) -> dict[str, str]:
    """The index of a folder: tensor names to file names.

    Raises:
        FewbitsError: It is no index, or names a file outside the folder or of another kind than safetensors.
    """
    path = folder / INDEX
    try:
        found = read_object(path).get("weight_map")
    except FewbitsError as error:
        raise FewbitsError(f"{path}: is no index of shards: {str(error).removeprefix(f'{path}: ')}") from None
    if not isinstance(found, dict) or not found:
        raise FewbitsError(f"{path}: is no index of shards: its weight_map is {shown(found)}: copy or download it again")
    if odd := [name for name in found.values() if not isinstance(name, str)]:
        raise FewbitsError(f"{path}: names the file {shown(odd[0])}, which is no name: copy or download the folder again")
    for name in sorted(set(found.values())):
        check_inside(folder, name, path)
        if not name.endswith(SUFFIX):
            raise FewbitsError(f"{path}: names {shown(name)}: only safetensors are read")
    return found


def shards_of(folder: Path) -> list[Path]:
    """The files that the index of a folder names, in order, each once.

    Raises:
        FewbitsError: As `weight_map`, and for a shard that is missing or no readable file.
    """
    paths = [folder / name for name in sorted(set(weight_map(folder).values()))]
    for path in paths:
        if not present(path):
            raise FewbitsError(f"{path}: is missing, one of {len(paths)} shards: copy or download the folder again")
        check_file(path)
    return paths


def present(path: Path) -> bool:
    """Whether there is anything of that name, a broken link or a FIFO included."""
    try:
        path.lstat()
    except (OSError, ValueError):
        return False
    return True
