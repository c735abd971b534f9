from pathlib import Path

import pytest

from fewbits.errors import FewbitsError
from fewbits.measure.result import Measure
from fewbits.plan import Plan
from fewbits.study import saved
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


def example() -> StudyResults:
    """One of each kind."""
    size = Measure(name="size", value=1024, unit="B", parts={"codes": 1000, "by_dtype": {"uint4": 1000, "float16": 24}})
    error = LayerError(name="a.b", kind="Linear", params=2000, scheme="rtn:uint4", error=0.1, worst=0.5)
    done = RowResult(
        key="k",
        model="m",
        label="4 bits",
        plan=Plan.of("uint4g64"),
        coverage=0.9,
        measures={"size": size},
        beside={"latency": Measure(name="latency", value=0.1, unit="s")},
        scores={"score": 1.5, "passes": True},
        reported=(Reported(measure="size", value=1.0, unit="MiB"),),
        layers=(error,),
        bits=4.0,
        group=0,
    )
    failed = RowResult(key="x", model="m", label="peer", peer="hqq 1", error="not installed")
    loss = LayerLoss(name="a.b", kind="Linear", params=2000, loss=0.01)
    lie = LayerWeights(
        name="a.b", kind="Linear", params=2, low=-1.0, high=1.0, counts=(1, 1), std=1.0, kurtosis=3.0, grid=(0.0,), outside=0.0
    )
    return StudyResults(
        title="t",
        columns=("size",),
        scores=(Score(name="score", expression="size_MiB"),),
        rows=(done, failed),
        sensitivities=(Sensitivity(key="s", model="m", scheme="uint2", layers=(loss,)),),
        weights=(Weights(key="w", model="m", scheme="uint4", layers=(lie,)),),
        missing=1,
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    saved.save(example(), tmp_path)
    assert saved.load(tmp_path) == example()
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 0}', '{"version": 1}', '{"version": 1, "rows": [{}]}'])
def test_a_damaged_file_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(FewbitsError, match=r"results\.json"):
        saved.load(tmp_path)


def test_a_folder_without_results_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(FewbitsError, match="fewbits study"):
        saved.load(tmp_path)
