import pytest

from tests.cli.running import Runner


@pytest.fixture
def fewbits(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(monkeypatch=monkeypatch, capsys=capsys)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timings that are over at once: what they say is not looked at."""
    from fewbits.doctor import layers, limits

    monkeypatch.setattr(limits, "_READ", 1 << 20)
    monkeypatch.setattr(layers, "_SECONDS", 0.0)
    monkeypatch.setattr(layers, "_LEAST", 1)
    monkeypatch.setattr(layers, "cache_bytes", lambda: 1 << 16)
