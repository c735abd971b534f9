"""The hub's errors in one line each, and its bars only where someone sees them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import errors, utils

from fewbits.data.hub import snapshot
from fewbits.errors import FewbitsError

RESPONSE: Any = SimpleNamespace(headers={}, request=None)


def ask(monkeypatch: pytest.MonkeyPatch, error: Exception, **options: Any) -> str:
    """What is said when the hub fails in this way."""

    def snapshot_download(repo: str, **_: Any) -> str:
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(FewbitsError) as raised:
        snapshot("owner/name", only=("*",), instead="give a folder", **options)
    return str(raised.value)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (errors.GatedRepoError("403", response=RESPONSE), "gated: ask for access at https://huggingface.co/owner/name,"),
        (errors.RepositoryNotFoundError("404", response=RESPONSE), "the hub has no model 'owner/name', or it is private"),
        (errors.RevisionNotFoundError("404", response=RESPONSE), "owner/name has no revision 'v2'"),
        (errors.LocalEntryNotFoundError("-"), "the hub is out of reach (HF_HUB_OFFLINE is set)"),
        (errors.OfflineModeIsEnabled("-"), "not whole in the local cache: give a folder"),
        (ConnectionError("-"), "the hub is out of reach"),
        (errors.HFValidationError("-"), "'owner/name' is no hub id (owner/name)"),
        (
            errors.HfHubHTTPError("500\n server error", response=RESPONSE),
            "cannot be had from the hub: 500 server error; or give",
        ),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_one_line_each(monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
    message = ask(monkeypatch, error, revision="v2")
    assert said in message
    assert "\n" not in message


def test_data_sets_are_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    error = errors.RepositoryNotFoundError("404", response=RESPONSE)
    assert "the hub has no data set 'owner/name'" in ask(monkeypatch, error, kind="dataset")
    gated = errors.GatedRepoError("403", response=RESPONSE)
    assert "https://huggingface.co/datasets/owner/name" in ask(monkeypatch, gated, kind="dataset")


def test_online_is_not_called_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert "the hub is out of reach and owner/name" in ask(monkeypatch, errors.LocalEntryNotFoundError("-"))


def test_bars_are_off_where_standard_error_is_no_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = []

    def snapshot_download(repo: str, **_: Any) -> str:
        seen.append(utils.are_progress_bars_disabled())
        return str(tmp_path)

    before = utils.are_progress_bars_disabled()
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert snapshot("owner/name", only=("*",), instead="-") == tmp_path
    assert seen == [True]
    assert utils.are_progress_bars_disabled() == before


def test_the_real_hub_answers_fast_when_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FewbitsError, match="out of reach"):
        snapshot("owner/name", only=("*",), instead="give a folder")
