import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.running import Runner, refused


def test_help_names_the_commands(fewbits: Runner) -> None:
    ended = fewbits("--help")
    assert ended.code == 0
    assert all(
        command in ended.out for command in ("quantize", "eval", "generate", "sensitivity", "tune", "doctor", "size", "inspect")
    )


def test_every_command_has_examples(fewbits: Runner) -> None:
    for command in ("quantize", "eval", "generate", "sensitivity", "tune", "doctor", "size", "inspect"):
        assert f"fewbits {command} demo" in fewbits(command, "--help").out


def test_help_shows_brackets(fewbits: Runner) -> None:
    for command in ("tune", "sensitivity"):
        assert "'*.self_attn.[qkv]_proj'" in fewbits(command, "--help").out  # [qkv] is no markup


def test_help_imports_nothing_heavy_and_is_quick() -> None:
    code = "import sys, fewbits.cli.main; print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    took = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "fewbits", "--help"], capture_output=True, check=True)
        took.append(time.perf_counter() - start)
    assert min(took) < 1.0  # 0.2 s on a quiet machine; CI's may be busy


def test_shell_completion_is_offered(fewbits: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shellingham.detect_shell", lambda *_, **__: ("bash", "/bin/bash"))  # it looks at the parent process
    assert "_FEWBITS_COMPLETE" in fewbits("--show-completion").out


def test_colours_only_on_a_terminal(fewbits: Runner) -> None:
    assert "\x1b[" not in fewbits("size", "demo", "uint4g64").out


def test_version(fewbits: Runner) -> None:
    assert fewbits("--version").out.startswith("fewbits 0.")


def test_an_unknown_command_is_refused(fewbits: Runner) -> None:
    assert fewbits("quantise", "demo").code == 2


def test_no_such_model(fewbits: Runner) -> None:
    refused(fewbits("size", "./nowhere", "uint4"), "nowhere")
    refused(fewbits("size", "dmo", "uint4"), "dmo", "demo")


def test_the_hub_out_of_reach(fewbits: Runner) -> None:
    refused(fewbits("size", "somebody/some-model", "uint4"), "somebody/some-model", "local folder")


def test_a_fault_of_our_own_is_one_line(fewbits: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("first line\nsecond \x1b[31mline " + "x" * 10_000)

    monkeypatch.setattr(sys.modules["fewbits.cli.main"], "_check_folder", broken)
    ended = fewbits("size", "demo", "uint4")
    assert ended.code == 1 and ended.err.count("\n") == 1 and len(ended.err) < 500
    assert "RuntimeError: first line second \\x1b[31mline" in ended.err and "FEWBITS_DEBUG=1" in ended.err


def test_a_current_folder_that_was_removed(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    code = (
        f"import os, sys; os.chdir({str(folder)!r}); os.rmdir({str(folder)!r}); sys.argv = ['fewbits', 'size', 'demo', 'uint4']"
    )
    code += "; from fewbits.cli import main; main()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1 and "no longer exists" in ended.stderr
