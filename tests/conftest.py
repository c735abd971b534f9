"""What all tests share: no look at the hub, hypothesis without a clock, one thread, and one warning that is not ours."""

import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"  # a look-up takes 20 s to fail on a machine without network

settings.register_profile("fewbits", deadline=None, derandomize=True)
settings.load_profile("fewbits")


def pytest_configure(config: pytest.Config) -> None:
    """Warnings are errors, but not those of what transformers imports where it is installed.

    That is hqq, which calls what torch has deprecated, and torchao, whose docstrings hold stray backslashes.
    """
    config.addinivalue_line("filterwarnings", r"ignore:`torch\.jit\.script_method` is deprecated:DeprecationWarning")
    config.addinivalue_line("filterwarnings", "ignore:invalid escape sequence")


def pytest_collection() -> None:
    """First of all, so that any test file can be run alone: it mends torchvision, which transformers and timm import."""
    import fewbits  # noqa: F401


@pytest.fixture(autouse=True)
def one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tiny tensors on one thread: where the cores are shared, two threads wait 50 ms for each other at every operator."""
    before = torch.get_num_threads()
    if request.node.get_closest_marker("slow") is None:
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
