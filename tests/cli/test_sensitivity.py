import json
from pathlib import Path

import pytest

from tests.cli.running import Runner, refused
from tests.cli.test_tune import model, own_cache, text  # noqa: F401 - fixtures


@pytest.fixture
def small(model: Path, text: Path) -> tuple[object, ...]:  # noqa: F811 - fixtures
    return (
        model,
        "--text",
        text,
        "--tokens",
        256,
        "--samples",
        4,
        "--candidate",
        "mse:uint2g32",
        "--candidate",
        "mse:uint4g32",
    )


def test_measured_and_cheap_beside_each_other(fewbits: Runner, small: tuple[object, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = fewbits("sensitivity", *small, "-o", out, "--json")
    assert ended.code == 0, ended.err
    assert "q_proj" in ended.out and "rank correlation of the cheap sensitivities" in ended.out
    found = ended.document["results"][0]["sensitivity"]
    assert len(found["layers"]) == 14 and len(found["layers"][0]["options"]) == 2
    assert all(option["measured"] > 0 and option["cheap"] > 0 for option in found["layers"][0]["options"])
    assert found["frontier"][0]["loss"] > found["frontier"][-1]["loss"]
    assert {p.name for p in out.iterdir()} == {"report.html", "report.md", "sensitivity.json", "sensitivity.csv"}
    assert len((out / "sensitivity.csv").read_text().splitlines()) == 1 + 14 * 2
    assert "kurtosis" in json.loads((out / "sensitivity.json").read_text())["sensitivity"]["layers"][0]
    assert (out / "report.html").read_text().count("<svg") >= 4


def test_cheap_measures_nothing(fewbits: Runner, small: tuple[object, ...]) -> None:
    ended = fewbits("sensitivity", *small, "--cheap", "--json")
    assert ended.code == 0 and "measured" not in ended.document["results"][0]["sensitivity"]["layers"][0]["options"][0]


def test_files_that_are_there_are_kept(fewbits: Runner, small: tuple[object, ...], tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("mine")
    refused(fewbits("sensitivity", *small, "-o", tmp_path), "--force")
    assert (tmp_path / "report.html").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    refused(fewbits("sensitivity", *small, "-o", tmp_path / "file"), "is a file")


@pytest.mark.parametrize(
    ("options", "helps"),
    [(("--candidate", "uint9"), "no 9 bits"), (("--text", "nowhere.txt"), "nowhere.txt"), (("--images", "x.npz"), "--text")],
)
def test_what_is_refused(fewbits: Runner, small: tuple[object, ...], options: tuple[str, ...], helps: str) -> None:
    refused(fewbits("sensitivity", *small, *options), helps)


def test_a_quantized_model_is_refused(fewbits: Runner, tmp_path: Path) -> None:
    assert fewbits("quantize", "demo", "int8", "-o", tmp_path / "q").code == 0
    refused(fewbits("sensitivity", tmp_path / "q"), "quantized already")
