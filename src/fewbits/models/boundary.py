"""The boundary to the libraries that load a user's folder: whatever they raise for it becomes one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from fewbits.data.names import one_line
from fewbits.errors import FewbitsError

_OURS = str(Path(__file__).parents[1])


@contextmanager
def library(what: str) -> Iterator[None]:
    """Turn what another library raises into FewbitsError: `what` and its message, with the error as the cause.

    A FewbitsError passes. So does an error that was raised by a line of this package, which transformers calls back: that is
    a bug here, and must not look like a damaged folder.
    """
    try:
        yield
    except FewbitsError:
        raise
    except Exception as error:  # of any type: configurations, models and tokenizers check themselves in many ways
        if _is_ours(error.__traceback__):
            raise
        raise FewbitsError(f"{what}: {one_line(error)}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Rust code (tokenizers, safetensors)
            raise
        raise FewbitsError(f"{what}: {one_line(error)}") from error


def _is_ours(traceback: TracebackType | None) -> bool:
    """Whether the innermost call was of this package, not counting the `with` block itself."""
    depth, file = 0, ""
    while traceback is not None:
        depth, file = depth + 1, traceback.tb_frame.f_code.co_filename
        traceback = traceback.tb_next
    return depth > 2 and file.startswith(_OURS)
