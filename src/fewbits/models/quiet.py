"""transformers, quietly: what matters of what it prints is checked here and told in a line, the rest stays unsaid."""

import gc
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from fewbits.errors import FewbitsError

OLDEST = 5  # of transformers


@contextmanager
def quietly() -> Iterator[None]:
    """No progress bars, no warnings, no log below ERROR, from any library. Nor is garbage collected."""
    below = logging.root.manager.disable
    logging.disable(max(below, logging.WARNING))
    try:
        with uncollected(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _no_bars():
                yield
    finally:
        logging.disable(below)


@contextmanager
def uncollected() -> Iterator[None]:
    """No collecting of garbage: loading makes none to speak of, and among 3,000 imported modules it takes 0.4 of 2.9 s."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def transformers() -> ModuleType:
    """The package. Raises FewbitsError where it is missing or too old."""
    try:
        import transformers
    except ImportError as error:
        raise FewbitsError(f"transformers cannot be imported ({error}): pip install 'transformers>={OLDEST}'") from error
    if int(transformers.__version__.partition(".")[0]) < OLDEST:
        raise FewbitsError(f"transformers {transformers.__version__} is too old: pip install 'transformers>={OLDEST}'")
    return transformers


@contextmanager
def _no_bars() -> Iterator[None]:
    transformers()
    from transformers.utils import logging as bars

    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
