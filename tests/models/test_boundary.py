from typing import Any

import pytest
import torch
from torch import nn

import fewbits
from fewbits.errors import FewbitsError
from fewbits.models.boundary import library
from fewbits.models.bounded import Bound, bounded


class PanicException(BaseException):
    pass


@pytest.mark.parametrize("error", [KeyError("x"), RecursionError("deep"), MemoryError(), PanicException("at src/lib.rs")])
def test_what_a_library_raises_becomes_one_line(error: BaseException) -> None:
    with pytest.raises(FewbitsError, match="folder: the library fails: ") as caught, library("folder: the library fails"):
        raise error
    assert caught.value.__cause__ is error


def test_other_errors_pass() -> None:
    with pytest.raises(FewbitsError, match=r"^ours$"), library("folder"):
        raise FewbitsError("ours")
    with pytest.raises(KeyboardInterrupt), library("folder"):
        raise KeyboardInterrupt


def test_a_bug_of_our_own_is_not_hidden() -> None:
    names: dict[str, Any] = {}
    exec(compile("def called_by_the_library(): raise KeyError('bug')", str(fewbits.__file__), "exec"), names)
    with pytest.raises(KeyError, match="bug"), library("folder"):
        names["called_by_the_library"]()


def test_building_stops_at_the_bound_and_is_free_again() -> None:
    with pytest.raises(FewbitsError, match="more than 11 tensors"), bounded(Bound(tensors=10, numbers=1)):
        nn.Sequential(*(nn.Linear(1, 1) for _ in range(100)))
    with torch.device("meta"), pytest.raises(FewbitsError, match="numbers"), bounded(Bound(tensors=10, numbers=10**6)):
        nn.Linear(2**20, 2**20)
    nn.Sequential(*(nn.Linear(1, 1) for _ in range(100)))
