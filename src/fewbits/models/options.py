"""How a model is to be loaded."""

from dataclasses import dataclass

import torch

from fewbits.errors import FewbitsError

DTYPES = {
    "float32": torch.float32, "fp32": torch.float32, "float": torch.float32,
    "bfloat16": torch.bfloat16, "bf16": torch.bfloat16,
    "float16": torch.float16, "fp16": torch.float16, "half": torch.float16,
}  # fmt: skip
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Options:
    """`dtype` None is as stored, `classes` None as the model has them.

    Without `weights` the model is on the meta device. With `cached_only` nothing is downloaded.
    """

    dtype: torch.dtype | None = None
    device: torch.device = CPU
    trust_remote_code: bool = False
    classes: int | None = None
    weights: bool = True
    cached_only: bool = False


def parse_dtype(dtype: str | torch.dtype) -> torch.dtype | None:
    """A torch dtype from its name; None for `auto`. Raises FewbitsError for an unknown one."""
    if dtype == "auto":
        return None
    found = dtype if isinstance(dtype, torch.dtype) else DTYPES.get(dtype.lower().removeprefix("torch."))
    if found not in DTYPES.values():
        raise FewbitsError(f"unknown dtype '{dtype}': auto, float32, bfloat16 or float16")
    return found


def arithmetic_dtype(dtype: str | None, device: str | torch.device) -> torch.dtype | None:
    """The dtype to compute in; None is that of the stored weights. Without a `dtype` it is float32 on the CPU."""
    return parse_dtype(dtype or ("float32" if torch.device(device).type == "cpu" else "auto"))


def parse_device(device: str | torch.device) -> torch.device:
    """A device that this machine has. Raises FewbitsError for another."""
    try:
        found = torch.device(device)
    except RuntimeError:
        found = None
    if found is None or found.type not in ("cpu", "cuda"):
        raise FewbitsError(f"unknown device '{device}': cpu, or cuda, cuda:1, ...")
    if found.type == "cuda" and not torch.cuda.is_available():
        raise FewbitsError(f"device '{device}': this machine, or its build of torch, has no CUDA device; --device cpu works")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise FewbitsError(f"device '{device}': this machine has {torch.cuda.device_count()} CUDA devices, counted from 0")
    return found
