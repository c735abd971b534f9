"""The machine that a figure was taken on. A time or a memory without it says nothing."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil


def describe() -> dict[str, Any]:
    """CPU, memory, GPUs, and the software that computes; plain data, for JSON. Neither host nor user is named.

    `cores` are physical, `threads` those that this process may use, `torch_threads` those that torch computes with; memory in
    bytes. `gpus` lists name and memory of each, and is left out where there is none.
    """
    import torch

    facts: dict[str, Any] = {
        "cpu": cpu_name(),
        "cores": psutil.cpu_count(logical=False),
        "threads": usable_threads(),
        "torch_threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "memory": psutil.virtual_memory().total,
        "os": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": _version("transformers"),
    }
    if torch.cuda.is_available():
        facts |= {"gpus": _gpus(), "cuda": torch.version.cuda}
    return facts


def cpu_name() -> str:
    """The CPU's own name, or as much as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if names:
            return names[0]
    if platform.system() == "Darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or platform.machine()
    return platform.processor() or platform.machine()


def usable_threads() -> int:
    """Hardware threads that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _gpus() -> list[dict[str, Any]]:
    import torch

    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [{"name": gpu.name, "memory": gpu.total_memory} for gpu in found]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
