"""Quiet imports and loads; afterwards everything is as it was."""

import gc
import logging
import warnings

import pytest
from transformers.utils import logging as bars

from fewbits.errors import FewbitsError
from fewbits.models import quiet


def test_nothing_is_said_and_everything_is_put_back(caplog: pytest.LogCaptureFixture) -> None:
    shown = bars.is_progress_bar_enabled()
    with quiet.quietly():
        warnings.warn("not heard", stacklevel=1)
        logging.getLogger("transformers").warning("not heard")
        logging.getLogger("anything").error("heard")
        assert not bars.is_progress_bar_enabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    assert bars.is_progress_bar_enabled() == shown
    logging.getLogger("anything").warning("heard again")
    assert [record.getMessage() for record in caplog.records] == ["heard", "heard again"]


def test_everything_is_put_back_after_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"^broken$"), quiet.quietly():
        raise RuntimeError("broken")
    assert gc.isenabled()
    assert logging.root.manager.disable < logging.WARNING


def test_an_old_transformers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet.transformers(), "__version__", "4.57.1")
    with pytest.raises(FewbitsError, match=r"transformers 4\.57\.1 is too old: pip install 'transformers>=5'"):
        quiet.transformers()
