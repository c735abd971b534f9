"""The Hugging Face hub: files of a model or a data set into the local cache, and one clear line where that fails."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from fewbits.data.names import one_line
from fewbits.errors import FewbitsError

Kind = Literal["model", "dataset"]


def snapshot(
    repo: str,
    *,
    kind: Kind = "model",
    revision: str | None = None,
    only: tuple[str, ...],
    leave: tuple[str, ...] = (),
    instead: str,
    cached_only: bool = False,
) -> Path:
    """The folder of the cache that holds a repository's files, downloaded where they are not there yet.

    `only` and `leave` are globs on file names. A machine without network gets what is in the cache. `instead` tells the user
    what to do where the hub cannot be reached. With `cached_only` nothing is
    downloaded. Raises FewbitsError for that, and for repositories that are unknown, private
    or gated. The last part of the folder's name is the commit.
    """
    import huggingface_hub

    with _progress_on_terminals_only():
        try:
            found = huggingface_hub.snapshot_download(
                repo,
                repo_type=kind,
                revision=revision,
                allow_patterns=[*only],
                ignore_patterns=[*leave],
                local_files_only=cached_only,
            )
        except Exception as error:
            if cached_only:
                raise FewbitsError(f"{repo} is not in the local cache: {instead}") from error
            raise FewbitsError(explain(error, repo, kind=kind, revision=revision, instead=instead)) from error
    return Path(found)


def explain(error: Exception, repo: str, *, kind: Kind = "model", revision: str | None = None, instead: str) -> str:
    """What an error of huggingface_hub means to the user, and the way out. Its errors are of many unrelated types."""
    from huggingface_hub import errors

    what = "data set" if kind == "dataset" else "model"
    page = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{repo}"
    match error:
        case errors.HFValidationError():
            return f"'{repo}' is no hub id (owner/name)"
        case errors.GatedRepoError():
            return f"{repo} is gated: ask for access at {page}, then log in with 'hf auth login'"
        case errors.RepositoryNotFoundError():
            return f"the hub has no {what} '{repo}', or it is private: check the name, or log in with 'hf auth login'"
        case errors.RevisionNotFoundError():
            return f"{repo} has no revision '{revision}': see {page}/tree/main"
        case errors.LocalEntryNotFoundError() | errors.OfflineModeIsEnabled() | ConnectionError() | TimeoutError():
            why = (
                " (HF_HUB_OFFLINE is set)"
                if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE")
                else ""
            )
            return f"the hub is out of reach{why} and {repo} is not whole in the local cache: {instead}"
        case _:
            return f"{repo} cannot be had from the hub: {one_line(error)}; or {instead}"


@contextmanager
def _progress_on_terminals_only() -> Iterator[None]:
    """huggingface_hub's bars where someone sees them, and not its log of retries."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    mute = not sys.stderr.isatty() and not are_progress_bars_disabled()
    level = logging.getLogger("huggingface_hub").level
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if mute:
        disable_progress_bars()
    try:
        yield
    finally:
        logging.getLogger("huggingface_hub").setLevel(level)
        if mute:
            enable_progress_bars()
