"""Perplexity: e to the mean negative log-likelihood of the tokens of a text, under a named protocol."""

from math import exp

import torch
from torch import nn

from fewbits.errors import FewbitsError
from fewbits.measure import arithmetic
from fewbits.measure.protocols import Protocol, Sentences
from fewbits.measure.result import Measure
from fewbits.measure.statistics import Mean, clustered_mean, mean_of
from fewbits.measure.text import TokenScores, score_tokens
from fewbits.measure.windows import Cut, Tokens, cut

MOST_NATS = 700.0  # e**709 is the largest double


def perplexity(
    model: nn.Module,
    tokens: Tokens,
    protocol: str | Protocol = "windows:512",
    *,
    bos: int | None = None,
    batch_size: int | None = None,
) -> Measure:
    """Perplexity of token ids [n] (for `sentences` a list of them), without special tokens; `bos` is the <bos> token's id.

    The standard error is that of windows (or sentences) as independent samples, by the delta method: ppl * se(mean nll).
    `n` counts predicted tokens. Parts: `nll` in nats, `windows`, `unused` tokens that filled no window, `bos` whether each
    window began with it, `dtype` and `arithmetic` (see arithmetic.py).

    Raises FewbitsError as `windows.cut` and `text.score_tokens` do.
    """
    pieces = cut(tokens, protocol, bos=bos)
    return perplexity_from(score_tokens(model, pieces, batch_size=batch_size), pieces, model)


def perplexity_from(scores: TokenScores, pieces: Cut, model: nn.Module) -> Measure:
    """Perplexity from the scores of all tokens."""
    loss = clustered_mean(scores.nll, scores.window)
    value = _mean_of_sentences(scores) if isinstance(pieces.protocol, Sentences) else _exp(loss)
    return Measure(
        name="ppl",
        value=value.value,
        unit="",
        se=value.se,
        n=pieces.predicted,
        protocol=arithmetic.named(str(pieces.protocol)),
        data=pieces.data,
        parts={"nll": loss.value, **text_parts(pieces, model)},
    )


def text_parts(pieces: Cut, model: nn.Module) -> dict[str, int | bool | str]:
    """What every measure on text tells of how it was taken."""
    return {"windows": len(pieces.windows), "unused": pieces.unused, "bos": pieces.bos, **arithmetic.parts(model)}


def _exp(loss: Mean) -> Mean:
    _check(loss.value)
    ppl = exp(loss.value)
    return Mean(value=ppl, se=None if loss.se is None else ppl * loss.se)


def _mean_of_sentences(scores: TokenScores) -> Mean:
    """The mean of the sentences' own perplexities: larger than that of all tokens together, short sentences weigh more."""
    counts = scores.window.bincount()
    sums = torch.zeros(len(counts), dtype=torch.float64).index_add_(0, scores.window, scores.nll.double())
    losses = sums / counts
    _check(losses.max().item())
    return mean_of(losses.exp())


def _check(loss: float) -> None:
    if loss > MOST_NATS:
        raise FewbitsError(f"a loss of {loss:.4g} nats a token has no perplexity: the model is broken; quantize it less")
