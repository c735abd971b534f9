"""What the tests of saved folders share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers

import fewbits


@pytest.fixture(params=["fewbits", "transformers"])
def way(request: pytest.FixtureRequest) -> Callable[[Path], Any]:
    return fewbits.load if request.param == "fewbits" else transformers.AutoModelForCausalLM.from_pretrained
