import pytest


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timings that are over at once: what they say is not looked at."""
    from fewbits.doctor import layers
    from fewbits.measure.speed import Timing
    from fewbits.search import clocks

    monkeypatch.setattr(layers, "_SECONDS", 0.0)
    monkeypatch.setattr(layers, "_LEAST", 1)
    monkeypatch.setattr(layers, "cache_bytes", lambda: 1 << 16)
    monkeypatch.setattr(clocks, "TIMING", Timing(repeats=2, warmup=1))
