"""A tiny classifier in a folder, images for it, and a study of both that takes seconds."""

from pathlib import Path
from typing import Any

import numpy as np

from fewbits.study import document, reading
from fewbits.study.spec import Spec
from tests import tiny

ROWS = """
  - keep
  - {scheme: "uint{bits}", grid: {bits: [8, 4, 3, 2]}}
  - {scheme: "uint{bits}g32", grid: {bits: [4, 2]}}
  - name: groups that do not divide
    scheme: uint4g48
    on_misfit: error
  - name: a second name for the same plan
    rules: ["*=uint4"]
"""
TIMES = ("latency", "quantize_time", "peak_memory", "resident")


def write(folder: Path) -> Path:
    """Make model, images and the study's file in a folder; the path of the file."""
    tiny.vit().save_pretrained(folder / "model")  # type: ignore[operator]
    rng = np.random.default_rng(0)
    np.savez(
        folder / "images.npz", images=rng.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8), labels=rng.integers(0, 10, 40)
    )
    text = (
        f"title: tiny\nmodel: {folder / 'model'}\nimages: {folder / 'images.npz'}\nmeasures: [size, accuracy, kl, latency]\n"
        f"repeats: 1\nscore: accuracy - size_MiB\nalone: uint2\nweights: uint3\non_misfit: channel\nrows:{ROWS}"
    )
    path = folder / "study.yaml"
    path.write_text(text)
    return path


def spec(folder: Path) -> Spec:
    """The study, read."""
    return reading.parse(*document.read(write(folder)))


def untimed(data: Any) -> Any:
    """Results without what a clock or the memory of the moment told."""
    if isinstance(data, dict):
        return {key: untimed(value) for key, value in data.items() if key not in (*TIMES, "seconds", "beside", "machine")}
    return [untimed(each) for each in data] if isinstance(data, list | tuple) else data
