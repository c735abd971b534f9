"""The build: what it does without a compiler, and the kernels under the sanitizers."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytest.importorskip("hatchling")
sys.path.insert(0, str(ROOT))
import hatch_build  # noqa: E402  (it lies beside the package, as hatchling wants it)
from fewbits.runtime import cpu  # noqa: E402

DRIVER = Path(__file__).with_name("cpu_driver.cpp")


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no C++ compiler" in str(hatch_build.build(tmp_path / "out.so"))
    monkeypatch.setenv("FEWBITS_KERNELS", "0")
    assert hatch_build.build(tmp_path / "out.so") == "FEWBITS_KERNELS=0"
    assert not (tmp_path / "out.so").exists()


def test_a_compiler_that_fails_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'error: no space on the moon' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    assert "no space on the moon" in str(hatch_build.build(tmp_path / "out.so"))


@pytest.mark.skipif(platform.machine() != "x86_64" or cpu.library.why_not() is not None, reason="no AVX2, or no compiler")
def test_rounded_activations_lie_where_the_kernels_read_them(tmp_path: Path) -> None:
    """In the tiles of AMX too, which few machines have."""
    program = tmp_path / "layout"
    flags = ["-std=c++17", "-O1", "-mavx2", "-mfma", "-mf16c", "-Wall", "-Wextra", "-Wno-psabi", f"-I{ROOT / 'native'}"]
    subprocess.run(
        [hatch_build.find_compiler() or "c++", *flags, DRIVER.with_name("layout_driver.cpp"), "-o", program], check=True
    )
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["address,undefined", "thread"])
def test_the_sanitizers_find_nothing(flag: str, tmp_path: Path) -> None:
    program = tmp_path / "driver"
    problem = hatch_build.build(program, ("-O0", "-g1", f"-fsanitize={flag}", "-fno-sanitize-recover=all"), driver=DRIVER)
    if problem is not None:
        pytest.skip(problem)
    done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "products are right" in done.stdout
