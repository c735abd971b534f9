"""Commands that pages and records name are the ones that were run, whatever is in their arguments."""

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fewbits.cli.commandline import command_line
from fewbits.cli.tables import console, inert, table
from tests.cli.running import Runner
from tests.study import folders

NASTY = [
    "a b",
    "'",
    '"',
    "$HOME",
    "`ls`",
    "*attn*=rtn:int8",
    "",
    "\\",
    "a\nb",
    "-x",
    "é",
    "!1",
    "#",
    "~",
    "{a,b}",
    "ppl<=+2%",
    "re:(a|b)",
]


def test_a_shell_reads_the_command_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/fewbits", *NASTY])
    assert shlex.split(command_line()) == ["fewbits", *NASTY]
    script = f"fewbits() {{ printf '%s\\0' \"$@\"; }}\n{command_line()}"
    found = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout
    assert found.decode().split("\0")[:-1] == NASTY


def recorded(text: str) -> list[str]:
    """The words of the command in a report in Markdown."""
    line = next(line for line in text.splitlines() if line.startswith("    fewbits "))
    return shlex.split(line)


def test_a_study_names_its_command(fewbits: Runner, tmp_path: Path) -> None:
    file, out = folders.write(tmp_path), tmp_path / "out of $it"
    given = ["study", file, "-o", out, "--model", tmp_path / "model", "--data", tmp_path / "images.npz", "--max-images", 10]
    given += ["--repeats", 1, "--only", "as it is", "--threads", 1]
    wanted = ["fewbits", *map(str, given)]
    assert fewbits(*given).code == 0
    assert shlex.split(json.loads((out / "results.json").read_text())["command"]) == wanted
    assert recorded((out / "report.md").read_text()) == wanted
    assert fewbits("report", out).code == 0
    assert recorded((out / "report.md").read_text()) == wanted


@pytest.mark.slow
@pytest.mark.parametrize("given", [["sensitivity", "--cheap"], ["tune", "--limit", "size<=7MiB", "--minimize", "kl"]])
def test_a_search_names_its_command(fewbits: Runner, tmp_path: Path, given: list[Any]) -> None:
    command = [
        given[0],
        "demo",
        *given[1:],
        "--samples",
        8,
        "--skip",
        "*.[0].mlp.up*",
        "--rule",
        "*.0.*o_proj=rtn:int8",
        "-o",
        tmp_path / "o u't",
    ]
    command += ["--candidate", "mse:uint3g64/q8", "--candidate", "rtn:uint4g64", "--tokens", 512, "--seed", 3, "--threads", 1]
    command += ["--max-tokens", 2000] if given[0] == "tune" else []
    ended = fewbits(*command)
    assert ended.code == 0, ended.err
    wanted = ["fewbits", *map(str, command)]
    document = json.loads((tmp_path / "o u't" / f"{given[0]}.json").read_text())
    assert shlex.split(document["command"]) == wanted
    assert recorded((tmp_path / "o u't" / "report.md").read_text()) == wanted


def test_names_are_no_markup_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    name = "[red]x[/] [/nothing] \x1b[31m \u202e"
    out = console()
    out.print(table(name, [name], [[name]]))
    out.print(f"[dim]{inert(name)}[/dim]")
    text = capsys.readouterr().out
    assert text.count("[red]x[/] [/nothing] \\x1b[31m \\u202e") == 4 and "\x1b" not in text
