"""Dtypes and devices by name."""

import pytest
import torch

from fewbits.errors import FewbitsError
from fewbits.models.options import parse_device, parse_dtype


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("auto", None),
        ("bf16", torch.bfloat16),
        ("torch.float16", torch.float16),
        ("Float32", torch.float32),
        (torch.float16, torch.float16),
    ],
)
def test_dtypes(name: str | torch.dtype, dtype: torch.dtype | None) -> None:
    assert parse_dtype(name) is dtype


@pytest.mark.parametrize("name", ["int8", "", torch.int32])
def test_other_dtypes_are_refused(name: str | torch.dtype) -> None:
    with pytest.raises(FewbitsError, match=f"unknown dtype '{name}': auto, float32"):
        parse_dtype(name)


@pytest.mark.parametrize("name", ["tpu", "meta", "mps"])
def test_other_devices_are_refused(name: str) -> None:
    with pytest.raises(FewbitsError, match=f"unknown device '{name}'"):
        parse_device(name)


def test_a_device_that_the_machine_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(FewbitsError, match="no CUDA device"):
        parse_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert parse_device("cuda:1").index == 1
    with pytest.raises(FewbitsError, match="has 2 CUDA devices"):
        parse_device("cuda:2")
