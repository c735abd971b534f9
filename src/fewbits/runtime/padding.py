"""A batch of prompts of different lengths, padded on the left, without the padding changing a continuation.

Attention ignores masked tokens exactly. Recurrent and convolutional layers, or positions that are counted from the first column,
may not: then each sequence has a session of its own.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fewbits.runtime.cache import takes
from fewbits.runtime.session import Session, can_generate

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
    padded = mask is not None and not bool(mask.all())
    if padded and not (can_generate(model) and takes(model, "attention_mask")):
        return _rows(model, ids, mask, count)
    session = Session(model, ids, mask, count)
    logits = session.prefill()
    if padded and not (session.is_plain and takes(model, "position_ids")) and not _ignores_padding(model, ids, mask, logits):
        return _rows(model, ids, mask, count)
    return session, logits


def _rows(model: Any, ids: Tensor, mask: Any, count: int) -> tuple[Session | Rows, Tensor]:
    rows = Rows(model, ids, mask, count)
    return rows, rows.prefill()


def _ignores_padding(model: Any, ids: Tensor, mask: Any, logits: Tensor) -> bool:
    """Whether the sequence with the most padding has the logits that it has alone."""
    row = int(mask.sum(-1).argmin())
    alone = Session(model, ids[row][mask[row].bool()][None], None, 2).prefill()[0].float()
    most = _TOLERANCE.get(logits.dtype, 0.05) * float(alone.abs().amax())
    return bool((logits[row].float() - alone).abs().amax() <= most)
