"""What loading a model gives: the model and all that came with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from fewbits.data.processor import ImageProcessor

Task = Literal["causal-lm", "image-classification", "other"]


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model in eval mode, what it is for, and where it came from.

    `name` is what the user gave. `source` is a name too, but one that means the same everywhere on this machine: a hub id with
    its commit (`owner/name@0a1b2c`), an absolute folder, `timm/NAME`, `demo`. `folder` is what was read; None for timm names.
    `labels` are the names of the classes by index, empty where the model gives none; `num_classes` is None for a language
    model. The tokenizer is transformers' own.
    """

    model: nn.Module
    name: str
    source: str
    task: Task
    tokenizer: Any = None
    processor: ImageProcessor | None = None
    labels: tuple[str, ...] = ()
    num_classes: int | None = None
    folder: Path | None = None
