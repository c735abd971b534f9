"""The weight files of a saved folder: exactly those that its manifest lists, unchanged, inside the folder.

What is read and what is checked must be the same set. A file that is listed but not read is a decoy; one that is read but not
listed could hold anything.
"""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from fewbits.errors import FewbitsError, shown
from fewbits.files import check_file, check_inside, check_link
from fewbits.shards import INDEX, SINGLE, present, shards_of
from fewbits.storage import checksums

PLAN = "plan.yaml"  # written by `fewbits.save`, and by nothing else
_log = logging.getLogger("fewbits")


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a saved folder, each a readable file inside it.

    Raises:
        FewbitsError: There are none, one is missing or outside the folder, or there are two sets of them.
    """
    single = folder / SINGLE
    if present(single) and present(folder / INDEX):
        raise FewbitsError(f"{folder}: holds both {SINGLE} and {INDEX}: remove the one that the model was not saved with")
    if not present(single) and not present(folder / INDEX):
        raise FewbitsError(f"{single}: is missing: the folder is incomplete, copy or download it again")
    paths = shards_of(folder) if present(folder / INDEX) else [single]
    for path in paths:
        check_file(path)
        check_link(folder, path)
    return paths


def checked_files(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """The weight files of a saved folder, after their checksums were verified; `files` are those of its manifest.

    Raises:
        FewbitsError: As `weight_files` and `verify` do.
    """
    _check_names(folder, files)
    for name in files:
        if not present(folder / name):
            raise FewbitsError(f"{folder / name}: is missing: the folder is incomplete, copy or download it again")
    paths = weight_files(folder)
    verify(folder, paths, files)
    return paths


def verify(folder: Path, paths: Iterable[Path], files: Mapping[str, str]) -> None:
    """Check that the files which are about to be read are those that the manifest lists, and are unchanged.

    A folder that transformers' `save_pretrained` wrote lists none: that is said in the log `fewbits`.

    Raises:
        FewbitsError: They are other files, one has changed, or the checksums of a folder that fewbits wrote are gone.
    """
    _check_names(folder, files)
    read = {path.relative_to(folder).as_posix(): path for path in paths}
    if not files:
        if present(folder / PLAN):
            raise FewbitsError(
                f"{folder}: config.json lists no checksums, but {PLAN} says that fewbits saved it, which writes them: copy or"
                f" download it again (or remove {PLAN}, if save_pretrained has replaced the model)"
            )
        _log.warning("%s: warning: has no checksums, so changes to its weights go unnoticed (fewbits.save writes them)", folder)
        return
    if unlisted := sorted(read.keys() - files.keys()):
        raise FewbitsError(f"{folder / unlisted[0]}: has no checksum in config.json: copy or download the folder again")
    if unread := sorted(files.keys() - read.keys()):
        raise FewbitsError(
            f"{folder / unread[0]}: has a checksum in config.json, but is no weight file of this model: copy or download the"
            " folder again"
        )
    for path in read.values():
        check_link(folder, path)
    checksums.verify(folder, files)


def _check_names(folder: Path, files: Mapping[str, str]) -> None:
    for name, digest in files.items():
        check_inside(folder, name, folder / "config.json")
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise FewbitsError(f"{folder}: the checksum of {shown(name)} in config.json is {shown(digest)}, not a sha256")
