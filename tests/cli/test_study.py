from pathlib import Path

from tests.cli.running import Runner, refused
from tests.study import folders


def test_a_study_from_end_to_end(fewbits: Runner, tmp_path: Path) -> None:
    file, out = folders.write(tmp_path), tmp_path / "out"
    dry = fewbits("study", file, "-o", out, "--dry-run")
    assert dry.code == 0 and dry.out.count("to do") == 10 and "cannot" in dry.out and not out.exists()
    ended = fewbits("study", file, "-o", out, "--only", "rtn:uint4", "--json")
    assert ended.code == 0, ended.err
    rows = ended.document["results"]
    assert rows[0]["plan"] == "rtn:uint4" and rows[0]["measures"]["kl"]["value"] > 0 and "score" in rows[0]["scores"]
    assert "groups of 48" in rows[-2]["error"] and rows[-1]["label"] == "a second name for the same plan"
    assert "groups that do not divide: " in ended.out and "not done yet" in ended.out
    assert {"items", "results.json", "results.csv", "report.md", "report.html"} <= {path.name for path in out.iterdir()}
    assert "all 1 are done already" in fewbits("study", file, "-o", out, "--only", "second name").err
    assert fewbits("study", file, "-o", out, "--dry-run").out.count("to do") < 10


def test_other_models_data_and_amounts(fewbits: Runner, tmp_path: Path) -> None:
    file = folders.write(tmp_path)
    other = tmp_path / "other.npz"
    other.write_bytes((tmp_path / "images.npz").read_bytes())
    how = ("--model", tmp_path / "model", "--data", other, "--max-images", 10, "--only", "as it is", "--json")
    row = fewbits("study", file, "-o", tmp_path / "out", *how).document["results"][0]
    assert row["measures"]["accuracy"]["n"] == 10


def test_what_a_user_can_get_wrong(fewbits: Runner, tmp_path: Path) -> None:
    file, out = folders.write(tmp_path), tmp_path / "out"
    bad = tmp_path / "bad.yaml"
    bad.write_text(file.read_text().replace("measures:", "mesures:"))
    refused(fewbits("study", bad, "-o", out), "bad.yaml, line 4", "'mesures'", "measures")
    refused(fewbits("study", "dmo", "-o", out), "dmo", "demo")
    refused(fewbits("study", tmp_path / "nothing.yaml", "-o", out), "nothing.yaml", "no such file")
    refused(fewbits("study", file, "-o", out, "--data", "nothing.npz"), "line 3, 'images'", "nothing.npz")
    refused(fewbits("study", file, "-o", out, "--only", "nothing"), "--only 'nothing'", "rtn:uint8")
    refused(fewbits("study", file, "-o", out, "--workers", 2, "--ray", "auto"), "exclude each other")
    refused(fewbits("study", file, "-o", out, "--device", "tpu"), "unknown device 'tpu'")
    refused(fewbits("study", file, "-o", out, "--model", "demo", "--model", "demo"), "--model demo", "twice")
    refused(fewbits("study", file, "-o", tmp_path / ("x" * 300)), "File name too long")
    ended = fewbits("study", file, "-o", out, "--only", "groups")
    assert ended.code == 2 and "error: no row could be measured; the first: groups that" in ended.err.splitlines()[-1]
    assert not list((out / "items").iterdir())


def test_a_failed_row_ends_in_1_and_keeps_the_others(fewbits: Runner, tmp_path: Path) -> None:
    file, out = folders.write(tmp_path), tmp_path / "out"
    file.write_text(
        file.read_text().replace("rtn:", "").split("rows:")[0] + "rows:\n  - keep\n  - {scheme: uint4g48, on_misfit: error}\n"
    )
    ended = fewbits("study", file, "-o", out, "--json")
    assert ended.code == 1 and "1 row failed" in ended.err and "groups of 48" in ended.err
    assert [bool(row.get("error")) for row in ended.document["results"]] == [False, True]
    assert {"results.json", "report.html"} <= {path.name for path in out.iterdir()}
