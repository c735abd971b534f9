"""Random calls of the operators and of the C functions, in processes of their own: a crash is a failed test.

FEWBITS_FUZZ=N in the environment multiplies the number of calls.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from fewbits.runtime import cpu

ROOT = Path(__file__).parents[2]
MORE = int(os.environ.get("FEWBITS_FUZZ", "1"))

pytestmark = pytest.mark.skipif(not cpu.available(), reason=str(cpu.why_not()))


def fuzz(calls: int, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
    command = [sys.executable, "-m", "tests.runtime.fuzzing", "--calls", str(calls), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **(environment or {})}, timeout=800
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout[-1500:]}\n{done.stderr[-4000:]}"
    assert f"{calls} calls ended well" in done.stdout


def test_random_calls_end_well() -> None:
    fuzz(360 * MORE)


@pytest.mark.slow
def test_5000_random_calls_end_well() -> None:
    fuzz(5000 * MORE, "--seed", "1000000")


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["address", "undefined"])
def test_the_sanitizers_find_nothing_in_random_calls(flag: str, tmp_path: Path) -> None:
    """The widths that a build for the sanitizers has (native/kernel.h, by_width)."""
    pytest.importorskip("hatchling")
    sys.path.insert(0, str(ROOT))
    import hatch_build

    out = tmp_path / "libfewbits_cpu.so"
    problem = hatch_build.build(out, ("-O1", "-g1", f"-fsanitize={flag}", "-fno-sanitize-recover=all", "-DFEWBITS_SANITIZE"))
    if problem is not None:
        pytest.skip(problem)
    compiler = hatch_build.find_compiler() or "c++"
    names = {"address": "libasan.so", "undefined": "libubsan.so"}[flag], "libstdc++.so.6"  # whose exceptions are watched too
    found = [
        subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in names
    ]
    options = {"LD_PRELOAD": " ".join(found), "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1"}
    fuzz(300 * MORE, "--library", str(out), "--widths", "3,4,8", environment=options)
