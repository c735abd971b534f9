"""Token ids that a model has no embedding of are refused before anything is read by them."""

from typing import Any

from jaxtyping import Int
from torch import Tensor

from fewbits.errors import FewbitsError
from fewbits.runtime import sizes


def check_ids(ids: Int[Tensor, "batch n"], model: Any) -> None:
    """Raises FewbitsError for a prompt without tokens, or with ids outside the embedding's rows."""
    rows = sizes.of(model.get_input_embeddings())[0]
    if not ids.numel():
        raise FewbitsError("the prompt has no tokens")
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= rows:
        raise FewbitsError(
            f"token {low if low < 0 else high} is outside the model's vocabulary of {rows}: use its own tokenizer"
        )
