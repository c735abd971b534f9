"""A batch of prompts of different lengths, padded on the left, without the padding changing a continuation.

Attention ignores masked tokens exactly. Recurrent and convolutional layers, or positions that are counted from the first column,
may not: then each sequence has a session of its own.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fewbits.errors import FewbitsError
from fewbits.runtime.cache import takes
from fewbits.runtime.session import Session, can_generate, has_growing_rope

_KNOWN = "_fewbits_ignores_padding"
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}  # of the largest logit; other types: 0.05


class Rows:
    """A session for each sequence of a batch."""

    def __init__(self, model: Any, ids: Int[Tensor, "batch n"], mask: Int[Tensor, "batch n"], count: int) -> None:
        self.sessions = [Session(model, row[real.bool()][None], None, count) for row, real in zip(ids, mask, strict=True)]

    def prefill(self) -> Float[Tensor, "batch vocabulary"]:
        """Process the prompts."""
        return torch.cat([session.prefill() for session in self.sessions])

    def step(self, tokens: Int[Tensor, " batch"]) -> Float[Tensor, "batch vocabulary"]:
        """Process one more token of each sequence."""
        return torch.cat([session.step(token) for session, token in zip(self.sessions, tokens.split(1), strict=True)])


def prefilled(model: Any, ids: Int[Tensor, "batch n"], mask: Tensor | None, count: int) -> tuple[Session | Rows, Tensor]:
    """Process a batch of prompts: what continues it, and the logits of the first new tokens."""
    if mask is not None and not bool(mask.all()) and not _ignores_padding(model, ids, mask):
        if has_growing_rope(model, ("dynamic",)):  # its state is in the model: sessions would share it
            raise FewbitsError(
                f"{type(model).__name__}: padding changes its rotary embedding: generate for one sequence at a time"
            )
        each = Rows(model, ids, mask, count)
        return each, each.prefill()
    session = Session(model, ids, mask, count)
    return session, session.prefill()


def _ignores_padding(model: Any, ids: Tensor, mask: Tensor) -> bool:
    """Whether the sequence with the most padding has the logits that it has alone; found once for models with attention alone."""
    if not (can_generate(model) and takes(model, "attention_mask")) or has_growing_rope(model):
        return False  # frequencies follow the longest sequence of a batch
    if model.__dict__.get(_KNOWN):
        return True
    row = int(mask.sum(-1).argmin())
    padded = Session(model, ids[row : row + 1], mask[row : row + 1], 2)
    alone = Session(model, ids[row][mask[row].bool()][None], None, 2)
    pairs = [(padded.prefill(), alone.prefill())]
    token = pairs[0][1].argmax(-1)
    pairs.append((padded.step(token), alone.step(token)))
    share = _TOLERANCE.get(pairs[0][0].dtype, 0.05)
    same = all(bool((a - b).abs().amax() <= share * b.abs().amax()) for a, b in pairs)
    if same and padded.is_plain:
        model.__dict__[_KNOWN] = True
    return same
