"""Builds the CPU kernels (native/*.cpp) into one shared library of the package.

    python hatch_build.py      the same by hand, in place, after a change under native/

pip runs it through hatchling when the package is installed or a wheel is made. The library is plain C at its border: it links
neither to Python nor to PyTorch, so a wheel serves every version of both. Without a compiler (or with FEWBITS_KERNELS=0) the
package is installed without kernels, runs on PyTorch's own operators, and `fewbits.runtime.cpu.why_not()` says so.
"""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).resolve().parent
LIBRARY = Path("fewbits/runtime/cpu/libfewbits_cpu.so")
COMMON = ("-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra")
AVX2 = ("-mavx2", "-mfma", "-mf16c")
AVX512 = (
    *AVX2,
    *(f"-mavx512{part}" for part in ("f", "bw", "vl", "dq", "vnni")),
    "-Wno-uninitialized",
    "-Wno-maybe-uninitialized",
)
SOLVE = ("-O3", "-ffp-contract=off")  # so that all instructions find the same grids
FLAGS: dict[str, Sequence[str]] = {  # each set of instructions is a translation unit with flags of its own
    "kernel_avx2": AVX2,
    "kernel_avxvnni": (*AVX2, "-mavxvnni"),
    "kernel_avx512": AVX512,  # whose headers, in GCC 12, use what they have not set (GCC bug 105593): no warnings of that
    "kernel_amx": (*AVX512, "-mamx-tile", "-mamx-int8"),
    "solve_avx2": (*AVX2, *SOLVE),
    "solve_avx512": (*AVX512, *SOLVE),
    "lookup": (*AVX2, "-ffp-contract=off"),
    "step_avx2": AVX2,
    "step_avx512": AVX512,
}
# An older compiler does not know these: they are left out.
OPTIONAL = ("kernel_avxvnni", "kernel_avx512", "kernel_amx", "solve_avx512", "step_avx512")


class CustomBuildHook(BuildHookInterface):
    """What hatchling calls."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the library, in place for an editable install; else into the wheel, which is then one for this platform."""
        if self.target_name != "wheel":
            return
        editable = version == "editable"
        self._made = Path(tempfile.mkdtemp())
        out = HERE / "src" / LIBRARY if editable else self._made / LIBRARY.name
        problem = build(out)
        if problem is not None:
            self.app.display_warning(f"fewbits is built without its CPU kernels: {problem}")
        elif not editable:
            build_data["force_include"][str(out)] = str(LIBRARY)
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was made on the way."""
        if self.target_name == "wheel":
            shutil.rmtree(self._made)


def build(out: Path, more: Sequence[str] = (), *, driver: Path | None = None) -> str | None:
    """Compile and link; None if that went well, else what is in the way. `driver`: a program around the kernels."""
    if os.environ.get("FEWBITS_KERNELS") == "0":
        return "FEWBITS_KERNELS=0"
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        return f"they are for Linux on x86-64, not for {sys.platform} on {platform.machine()}"
    compiler = find_compiler()
    if compiler is None:
        return "no C++ compiler was found (c++, g++, clang++, or what CXX names)"
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        sources = [*sorted((HERE / "native").glob("*.cpp")), *([driver] if driver else [])]
        results = pool.map(lambda source: compile_one(compiler, source, Path(folder), more), sources)
        done = {source.stem: result for source, result in zip(sources, results, strict=True)}
        failed = {name: result for name, result in done.items() if isinstance(result, str) and name not in OPTIONAL}
        if failed:
            name, message = next(iter(failed.items()))
            return f"{compiler} cannot compile native/{name}.cpp: {message}"
        objects = [str(result) for result in done.values() if isinstance(result, Path)]
        kind = () if driver else ("-shared",)
        linked = Path(folder) / out.name  # a process may be using the one that is there: replaced, not written over
        problem = run([compiler, *kind, *more, "-o", str(linked), *objects, "-lpthread"])
        if problem is None:
            beside = out.with_name(f".{out.name}.{os.getpid()}")
            shutil.copy(linked, beside)
            beside.replace(out)
        return problem


def compile_one(compiler: str, source: Path, folder: Path, more: Sequence[str]) -> Path | str:
    """The object file, or what the compiler said."""
    target = folder / f"{source.stem}.o"
    include = f"-I{HERE / 'native'}"
    problem = run([compiler, *COMMON, *FLAGS.get(source.stem, ()), *more, include, "-c", str(source), "-o", str(target)])
    return target if problem is None else problem


def run(command: Sequence[str]) -> str | None:
    """None if the command ended well, else the first line of what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or ["it failed"]
    return None if done.returncode == 0 else said[0]


def find_compiler() -> str | None:
    """The path of the C++ compiler that CXX names, else of the first that is installed."""
    wanted = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    return next(filter(None, map(shutil.which, wanted)), None)


if __name__ == "__main__":
    trouble = build(HERE / "src" / LIBRARY)
    sys.exit(trouble and f"the CPU kernels were not built: {trouble}")
