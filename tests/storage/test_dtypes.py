import pytest
import torch

from fewbits import FewbitsError
from fewbits.storage import dtypes
from tests.storage import tiny


def test_main_dtype_counts_what_is_quantized() -> None:
    model = tiny.net().half()
    model.get_submodule("norm").float()
    assert dtypes.main_dtype(model) == torch.float16  # the floats left are those of the norm and one bias


def test_model_without_floats() -> None:
    assert dtypes.main_dtype(torch.nn.ReLU()) == torch.float32


def test_exceptions_and_back() -> None:
    model = tiny.net().bfloat16()
    model.table = model.get_buffer("table").float()
    others = dtypes.exceptions(model)
    assert others == {"table": "float32"}
    dtypes.restore(model, torch.float16, others)
    assert model.table.dtype == torch.float32
    assert model.get_buffer("hidden.like").dtype == torch.float16
    assert model.get_parameter("norm.weight").dtype == torch.bfloat16  # it is stored, so it is read as it is


@pytest.mark.parametrize("name", ["int8", "tensor", ""])
def test_no_dtype_of_floats(name: str) -> None:
    with pytest.raises(FewbitsError, match="is no dtype of floats"):
        dtypes.parse(name)
