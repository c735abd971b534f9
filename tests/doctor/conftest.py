import pytest


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timings that are over at once: what they say is not looked at."""
    from fewbits.doctor import layers, limits

    monkeypatch.setattr(limits, "_READ", 1 << 20)
    monkeypatch.setattr(layers, "_SECONDS", 0.0)
    monkeypatch.setattr(layers, "_LEAST", 1)
    monkeypatch.setattr(layers, "cache_bytes", lambda: 1 << 16)
