"""A study's results with round figures, so that what a report says of them can be worked out by hand."""

from fewbits.measure.result import Measure
from fewbits.study.results import (
    LayerError,
    LayerLoss,
    LayerWeights,
    Reported,
    RowResult,
    Score,
    Sensitivity,
    StudyResults,
    Weights,
)

MIB = 1024**2
NAMES = tuple(f"model.layers.{block}.{kind}" for block in range(3) for kind in ("attn.q_proj", "mlp.up_proj"))


def measures(size: float, ppl: float, speed: float) -> dict[str, Measure]:
    """Size in MiB, perplexity, tokens/s; half of the size codes, a tenth scales."""
    parts = {"codes": size * MIB / 2, "meta": size * MIB / 10, "kept": size * MIB * 0.4, "bits_per_weight": size / 2}
    parts["by_dtype"] = {"uint4": size * MIB * 0.6, "bfloat16": size * MIB * 0.4}
    return {
        "size": Measure(name="size", value=int(size * MIB), unit="B", parts=parts),
        "ppl": Measure(name="ppl", value=ppl, unit="", se=0.5, n=60_000, protocol="windows:512"),
        "kl": Measure(name="kl", value=ppl / 1000, unit="nats", se=0.001, n=60_000, protocol="windows:512"),
        "decode_speed": Measure(name="decode_speed", value=speed, unit="tokens/s", n=5, protocol="prompt 64, new 32"),
    }


def row(label: str, size: float, ppl: float, speed: float, **more: object) -> RowResult:
    """A row that was measured, the original (100 tokens/s) beside it."""
    settings: dict[str, object] = {"key": label, "model": "llama", "label": label, "measures": measures(size, ppl, speed)}
    if not more.get("original"):
        settings["beside"] = {"decode_speed": Measure(name="decode_speed", value=100.0, unit="tokens/s")}
    return RowResult(**settings | more)  # type: ignore[arg-type]


def errors(scheme: str, error: float) -> tuple[LayerError, ...]:
    """The error of the first layer, growing by a tenth of it from layer to layer."""
    return tuple(
        LayerError(name=name, kind="Linear", params=1024, scheme=scheme, error=error * (1 + at / 10), worst=error)
        for at, name in enumerate(NAMES)
    )


def rows() -> tuple[RowResult, ...]:
    """The original, four of ours in two series, a peer, one that failed."""
    return (
        row("as it is", 16, 20.0, 100, original=True, reported=(Reported(measure="ppl", value=13.16, unit=""),)),
        row("hqq:uint8g64", 10, 20.1, 150, bits=8.0, group=64, series="hqq:uintg64", layers=errors("hqq:uint8g64", 0.01)),
        row("hqq:uint4g64", 6, 21.0, 200, bits=4.0, group=64, series="hqq:uintg64", layers=errors("hqq:uint4g64", 0.16)),
        row("rtn:uint8g64", 10, 20.2, 150, bits=8.0, group=64, series="rtn:uintg64"),
        row("rtn:uint4g64", 6, 22.0, 90, bits=4.0, group=64, series="rtn:uintg64"),
        row("bitsandbytes nf4", 5, 24.0, 50, peer="bitsandbytes 0.50.2", bits=4.0, series="bitsandbytes nf"),
        RowResult(key="x", model="llama", label="hqq 1 bit", peer="hqq", error="hqq is not installed: pip install hqq | now"),
    )


def weights() -> Weights:
    """The first layer has a weight 10 standard deviations out and heavy tails, the others none."""
    layers = [
        LayerWeights(
            name=name,
            kind="Linear",
            params=1000,
            low=-1.0,
            high=1.0,
            counts=(0, 500, 500, 0),
            std=0.1 if at == 0 else 0.5,
            kurtosis=9.0 if at == 0 else 2.5,
            grid=(-0.5, 0.0, 0.5),
            outside=0.006 if at == 0 else 0.0,
        )
        for at, name in enumerate(NAMES)
    ]
    return Weights(key="w", model="llama", scheme="hqq:uint4g64", layers=tuple(layers))


def sensitivity() -> Sensitivity:
    """Losses 1, 2, 3, 4, 5 and 85 thousandths of a nat."""
    losses = (0.001, 0.002, 0.003, 0.004, 0.005, 0.085)
    layers = tuple(LayerLoss(name=n, kind="Linear", params=1024, loss=loss) for n, loss in zip(NAMES, losses, strict=True))
    return Sensitivity(key="s", model="llama", scheme="rtn:uint2g64", protocol="windows:512", data="a text", layers=layers)


def results(**more: object) -> StudyResults:
    """The whole study."""
    settings: dict[str, object] = {
        "title": "Bits & <quality>",
        "about": "A study of `llama`.",
        "file": "studies/made.yaml",
        "text": "title: made\n",
        "columns": ("size", "ppl", "kl", "decode_speed"),
        "scores": (Score(name="score", expression="37 - size_MiB"),),
        "data": ("a text",),
        "reported": "a paper",
        "machine": {"cpu": "a CPU", "cores": 2, "memory": 2**33, "torch": "2.13"},
        "fewbits": "0.1.0",
        "rows": rows(),
        "sensitivities": (sensitivity(),),
        "weights": (weights(),),
    }
    return StudyResults(**settings | more)  # type: ignore[arg-type]
