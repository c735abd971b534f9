"""The command line, run in this process: arguments in, exit code and what was printed out."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from fewbits.cli import main


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document on the last line of standard output."""
        return json.loads(self.out.splitlines()[-1])


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs `fewbits ...`."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: object) -> Ended:
        self.monkeypatch.setattr("sys.argv", ["fewbits", *(str(a) for a in arguments)])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = self.capsys.readouterr()
        return Ended(code=int(stop.value.code or 0), out=out, err=err)


def refused(ended: Ended, *parts: str) -> None:
    """Check that it ended as bad input should: exit code 2, one line, no traceback, with what helps."""
    assert ended.code == 2, ended
    assert ended.err.startswith("error: ") and ended.err.count("\n") == 1, ended.err
    assert not [part for part in parts if part not in ended.err], ended.err
