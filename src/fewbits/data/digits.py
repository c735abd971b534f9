"""scikit-learn's handwritten digits: the images of `demo-vision`, 8 x 8 pixels of 0 to 16.

Every third image is for the test (599 of 1,797), the others are for training (1,198): no random numbers, so the same
everywhere.
"""

from typing import Any, Literal

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from fewbits.errors import FewbitsError

EVERY = 3


def digits(split: Literal["train", "test"]) -> tuple[UInt8[Tensor, "n 8 8 1"], Int[Tensor, " n"]]:
    """Images and labels of a split. Raises FewbitsError where scikit-learn is missing."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise FewbitsError("the images of the demo come with scikit-learn: pip install 'fewbits[demo]'") from None
    data: Any = load_digits()
    images = torch.from_numpy(data.images).to(torch.uint8).unsqueeze(-1)
    labels = torch.from_numpy(data.target).long()
    chosen = (torch.arange(len(labels)) % EVERY == 0) == (split == "test")
    return images[chosen], labels[chosen]
