from pathlib import Path

from fewbits.study.saved import save
from tests.cli.running import Runner, refused
from tests.report.made import results


def test_the_report_is_made_again(fewbits: Runner, tmp_path: Path) -> None:
    save(results(), tmp_path)
    ended = fewbits("report", tmp_path, "--json")
    assert ended.code == 0, ended
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "results.csv", "report.html", "report.md"}
    assert str(tmp_path / "report.html") in ended.out
    assert [row["model"] for row in ended.document["results"]] == ["llama"] * 7


def test_what_a_user_can_get_wrong(fewbits: Runner, tmp_path: Path) -> None:
    refused(fewbits("report", tmp_path), str(tmp_path), "results.json", "fewbits study")
    (tmp_path / "results.json").write_text("{")
    refused(fewbits("report", tmp_path), "results.json", "cannot be read")
