"""From logits to nats: negative log-likelihood and divergence, in f32, a bounded number of rows at a time.

The logits come in the model's own dtype; a vocabulary of 128,000 would make their f32 softmax the largest tensor there is.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fewbits.errors import FewbitsError

CHUNK = 1 << 22  # logits that are turned to probabilities at a time: 16 MiB of f32


def nll(logits: Float[Tensor, "n v"], targets: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """-log p(target) of each row, in nats."""
    return torch.cat([F.cross_entropy(logits[at].float(), targets[at], reduction="none") for at in _pieces(logits)])


def kl(logits: Float[Tensor, "n v"], reference: Float[Tensor, "n v"]) -> Float[Tensor, " n"]:
    """KL(reference || model) of each row, in nats, over all classes: sum p (log p - log q). Exactly 0 for equal logits."""
    return torch.cat([_kl(logits[at], reference[at]) for at in _pieces(logits)])


def same_top(logits: Float[Tensor, "n v"], reference: Float[Tensor, "n v"]) -> Bool[Tensor, " n"]:
    """Whether both find the same class likeliest; of equals, the first counts."""
    return logits.argmax(dim=-1) == reference.argmax(dim=-1)


def compare(logits: Float[Tensor, "n v"], reference: Float[Tensor, "n w"]) -> tuple[Float[Tensor, " n"], Bool[Tensor, " n"]]:
    """`kl` and `same_top` of two models' logits. Raises FewbitsError if they tell of different numbers of classes."""
    if logits.shape != reference.shape:
        have, want = logits.shape[-1], reference.shape[-1]
        raise FewbitsError(f"the model tells {have} classes or tokens apart, its reference {want}: compare models of one task")
    reference = reference.to(logits.device)
    return kl(logits, reference), same_top(logits, reference)


def need_numbers(values: Float[Tensor, " n"], what: str) -> None:
    """Raise FewbitsError if some are NaN or infinite."""
    if bad := int((~values.isfinite()).sum()):
        raise FewbitsError(
            f"{what} is NaN or infinite at {bad} of {values.numel()} places: the model is broken there;"
            " quantize it less, or compute in --dtype float32"
        )


def _kl(logits: Tensor, reference: Tensor) -> Tensor:
    log_p, log_q = reference.float().log_softmax(dim=-1), logits.float().log_softmax(dim=-1)
    p = log_p.exp()
    terms = p * (log_p - log_q)
    return terms.where(p != 0, torch.zeros_like(terms)).sum(dim=-1)  # 0 log 0 = 0, also where log 0 is -inf; NaN stays NaN


def _pieces(logits: Tensor) -> Iterator[slice]:
    rows, classes = logits.shape
    step = max(1, CHUNK // classes)
    return (slice(start, start + step) for start in range(0, rows, step))
