"""Token ids that a model has no embedding of are refused before anything is read by them."""

from typing import Any

from jaxtyping import Int
from torch import Tensor, nn

from fewbits.errors import FewbitsError
from fewbits.layers import QuantizedLayer
from fewbits.runtime import sizes


def check_ids(ids: Int[Tensor, "batch n"], model: Any) -> None:
    """Raise FewbitsError for a prompt without tokens, or with ids outside the embedding's rows."""
    if not ids.numel():
        raise FewbitsError("the prompt has no tokens")
    rows = _rows(model)
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or (rows is not None and high >= rows):
        raise FewbitsError(
            f"token {low if low < 0 else high} is outside the model's vocabulary of {rows}: use its own tokenizer"
        )


def _rows(model: Any) -> int | None:
    """Rows of the input embedding; None if the model has no such method."""
    find = getattr(model, "get_input_embeddings", None)
    try:
        layer = find() if callable(find) else None
    except (NotImplementedError, AttributeError):
        return None
    if not isinstance(layer, nn.Embedding | QuantizedLayer):
        return None
    return sizes.of(layer)[0]
