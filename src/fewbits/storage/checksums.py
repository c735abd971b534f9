"""Checksums of weight files: what is read is what was written."""

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fewbits.errors import FewbitsError
from fewbits.files import check_file


def sha256(path: Path) -> str:
    """The hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_files(paths: Iterable[Path]) -> dict[str, str]:
    """The sha256 of files by their names. Hashing releases the interpreter's lock, so several are read at a time."""
    paths = list(paths)
    if len(paths) == 1:
        return {paths[0].name: sha256(paths[0])}
    with ThreadPoolExecutor() as pool:
        return {path.name: digest for path, digest in zip(paths, pool.map(sha256, paths), strict=True)}


def verify(folder: Path, files: Mapping[str, str]) -> None:
    """Raise FewbitsError that names the first file which is missing, truncated or altered since it was saved."""
    for name in files:
        check_file(folder / name)
    with ThreadPoolExecutor() as pool:
        found = dict(zip(files, pool.map(sha256, [folder / name for name in files]), strict=True))
    for name, digest in files.items():
        if found[name] != digest:
            raise FewbitsError(
                f"{folder / name}: was truncated or altered since it was saved (sha256 {found[name][:12]}..., not"
                f" {digest[:12]}...): copy or download it again"
            )
