"""Data sets of the hub: WikiText-2's and CIFAR-100's tests, read from their parquet files."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewbits.data.hub import snapshot
from fewbits.data.pixels import FORMATS
from fewbits.errors import FewbitsError

WIKITEXT = "Salesforce/wikitext"
CIFAR100 = "uoft-cs/cifar100"


def wikitext2() -> tuple[str, str]:
    """The text of WikiText-2 raw's test, its rows joined by blank lines, and what it is called with its commit."""
    folder = snapshot(
        WIKITEXT,
        kind="dataset",
        only=("wikitext-2-raw-v1/test-*.parquet",),
        instead="give a file of plain text instead of wikitext2",
    )
    rows = _table(folder, "wikitext-2-raw-v1/test-*.parquet").column("text").to_pylist()
    return "\n\n".join(rows), f"{WIKITEXT}@{folder.name} wikitext-2-raw-v1 test"


def cifar100() -> tuple[Tensor, Tensor, tuple[str, ...], str]:
    """CIFAR-100's test: images [n, 32, 32, 3] uint8, labels [n], the names of the classes, and what it is called."""
    folder = snapshot(
        CIFAR100,
        kind="dataset",
        only=("cifar100/test-*.parquet",),
        instead="give an .npz with 'images' and 'labels' instead of cifar100",
    )
    table = _table(folder, "cifar100/test-*.parquet")
    images = np.stack([_decoded(cell["bytes"]) for cell in table.column("img").to_pylist()])
    labels = torch.tensor(table.column("fine_label").to_pylist())
    return torch.from_numpy(images), labels, _class_names(table, "fine_label"), f"{CIFAR100}@{folder.name} test"


def _table(folder: Path, pattern: str) -> Any:
    """The parquet files of a split, as one table."""
    try:
        from pyarrow import ArrowInvalid, concat_tables  # pyright: ignore[reportMissingImports]
        from pyarrow.parquet import read_table  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise FewbitsError("data sets of the hub are parquet files, which need pyarrow: pip install 'fewbits[data]'") from None
    paths = sorted(folder.glob(pattern))
    if not paths:
        raise FewbitsError(f"{folder}: the data set has no {pattern} any more: give a file instead")
    try:
        return concat_tables([read_table(path) for path in paths])
    except ArrowInvalid as error:
        raise FewbitsError(f"{paths[0]}: is no parquet file ({error}): delete it, and it is downloaded again") from None


def _decoded(data: bytes) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return np.asarray(image.convert("RGB"))


def _class_names(table: Any, column: str) -> tuple[str, ...]:
    """What the hub's own metadata in the file calls the classes; nothing where it does not."""
    metadata = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    return tuple(metadata.get("info", {}).get("features", {}).get(column, {}).get("names", ()))
