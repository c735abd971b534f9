"""An output folder that is either whole or absent: written under a temporary name in the same parent, synced, then renamed.

Only a folder that fewbits saved, with no other files in it, is ever replaced. The new folder and the old one exchange their
names in one step, so that a process killed at any moment leaves one of the two, whole, under the name.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fewbits.errors import FewbitsError
from fewbits.storage import swap
from fewbits.storage.manifest import CONFIG, is_saved_by_fewbits
from fewbits.storage.owned import foreign_file
from fewbits.storage.workspace import NEW, OLD, workspace


@dataclass(frozen=True, kw_only=True)
class Output:
    """An output folder that this run alone may write. `before` identifies what had the name when the run began."""

    folder: Path
    work: Path
    before: tuple[int, int] | None


@contextmanager
def reserved(folder: Path, *, force: bool) -> Iterator[Output]:
    """Keep an output folder for this run until the block ends. Nothing appears at its name before `written`.

    Raises:
        FewbitsError: The folder is in use (see `check_output`), another run is writing it, or its parent cannot be written.
    """
    check_output(folder, force=force)
    folder = resolved(folder)
    with ExitStack() as stack:
        with _one_line(folder):
            work = stack.enter_context(workspace(folder))
        check_output(folder, force=force)  # another run may have finished since
        yield Output(folder=folder, work=work, before=_identity(folder))


@contextmanager
def written(output: Output) -> Iterator[Path]:
    """Give a new folder to write into; when the block ends well it takes the output's name.

    Raises:
        FewbitsError: In place of OSError (a full disk), or because the output changed during the run. What was there stays.
    """
    new = output.work / NEW
    with _one_line(output.folder):
        new.mkdir()
        yield new
        swap.sync_tree(new)
        _take_place(new, output)


@contextmanager
def replaced(folder: Path, *, force: bool) -> Iterator[Path]:
    """`reserved` and `written` in one, for what is quick to write."""
    with reserved(folder, force=force) as output, written(output) as place:
        yield place


def resolved(folder: Path) -> Path:
    """The absolute path of an output folder, links followed.

    Raises:
        FewbitsError: A link that leads nowhere, the root, the current folder or one that holds it, a name that cannot be.
    """
    try:
        if folder.is_symlink() and not folder.exists():
            raise FewbitsError(f"{folder}: is a link to {folder.readlink()}, which does not exist: choose another folder")
        found = folder.resolve()
        _identity(found)  # a name that is too long raises here
    except FewbitsError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a null character
        what = getattr(error, "strerror", None) or str(error)
        raise FewbitsError(f"{_shown(folder)}: cannot be written: {what}") from None
    if not found.name:
        raise FewbitsError(f"{found}: is the root of the file system: give the name of a new folder")
    if found in _current():
        raise FewbitsError(f"{folder}: is the current folder, or holds it: give the name of a new folder")
    return found


def check_output(folder: Path, *, force: bool) -> None:
    """Raise FewbitsError unless an output folder is free, or `force` is given and all of it was saved by fewbits."""
    found = resolved(folder)
    if not found.exists():
        return
    if not found.is_dir():
        raise FewbitsError(f"{folder}: is a file, not a folder")
    with _one_line(folder):
        if not any(found.iterdir()):
            return
    if not (found / CONFIG).exists():
        raise FewbitsError(f"{folder}: holds something other than a saved model (no {CONFIG}): choose another folder")
    if not is_saved_by_fewbits(found):
        raise FewbitsError(f"{folder}: was not saved by fewbits, which replaces only its own folders: choose another folder")
    if foreign := foreign_file(found):
        raise FewbitsError(f"{folder}: holds {foreign}, which fewbits did not write: move it away, or choose another folder")
    if not force:
        raise FewbitsError(f"{folder}: exists already: choose another folder, or replace it with --force (force=True)")


def check_not_original(folder: Path, *sources: str | None) -> None:
    """Raise FewbitsError if saving to the folder would replace the original model. A folder of our own may be saved anew."""
    for source in filter(None, sources):
        original = Path(source).expanduser()
        if not original.is_dir() or is_saved_by_fewbits(original):
            continue
        if resolved(folder) in (original.resolve(), *original.resolve().parents):
            raise FewbitsError(f"{folder}: is the folder of the original model, which stays: choose another folder")


def _take_place(new: Path, output: Output) -> None:
    folder, old = output.folder, output.work / OLD
    if _identity(folder) != output.before:
        raise FewbitsError(f"{folder}: was made or replaced by something else during this run, and is left as it is")
    if output.before is None:
        _rename_new(new, folder)
    elif not any(folder.iterdir()):
        new.rename(folder)  # replaces an empty folder, and nothing else
    elif swap.exchange(new, folder):
        _check_replaced(new, output, lambda: swap.exchange(new, folder))
    else:  # two steps: a process killed between them leaves the old folder in the workspace, and the next run moves it back
        folder.rename(old)
        try:
            _check_replaced(old, output, lambda: None)
            swap.rename_new(new, folder)
        except BaseException:
            old.rename(folder)
            raise
    swap.sync(folder.parent, output.work)


def _rename_new(new: Path, folder: Path) -> None:
    try:
        swap.rename_new(new, folder)
    except FileExistsError:
        raise FewbitsError(f"{folder}: was made by something else during this run, and is left as it is") from None


def _check_replaced(old: Path, output: Output, undo: Callable[[], object]) -> None:
    """Look once more at what was replaced, now that nobody can find it under its name; undo if it must stay."""
    try:
        if _identity(old) != output.before:
            raise FewbitsError(f"{output.folder}: was replaced by something else during this run, and is left as it is")
        if foreign := foreign_file(old):
            raise FewbitsError(f"{output.folder}: holds {foreign}, which appeared during this run: move it away")
    except BaseException:
        undo()
        raise


def _identity(folder: Path) -> tuple[int, int] | None:
    """What distinguishes a folder from another of the same name; None if there is none."""
    try:
        status = os.lstat(folder)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _shown(folder: Path, most: int = 300) -> str:
    """A path on one line, not too long."""
    text = str(folder) if str(folder).isprintable() else ascii(str(folder))
    return text if len(text) <= most else f"{text[:most]}..."


def _current() -> tuple[Path, ...]:
    try:
        return (Path.cwd(), *Path.cwd().parents)
    except OSError:  # it was removed
        return ()


@contextmanager
def _one_line(folder: Path) -> Iterator[None]:
    """Turn OSError into a FewbitsError that names the folder."""
    try:
        yield
    except OSError as error:
        raise FewbitsError(
            f"{_shown(folder)}: cannot be written: {error.strerror or error}; what was there before is unchanged"
        ) from error
