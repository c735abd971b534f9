import pytest

from tests.cli.running import Runner


@pytest.fixture
def fewbits(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(monkeypatch=monkeypatch, capsys=capsys)
