"""A language model read over windows of text, beside a reference if there is one: what each predicted token cost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from fewbits.measure import probabilities
from fewbits.measure.arithmetic import answers_of
from fewbits.measure.running import check_ids, check_positions, config_value, device_of, evaluating
from fewbits.measure.windows import Cut, Window, batches
from fewbits.progress import track

LOGITS = {"cpu": 1 << 25, "cuda": 1 << 28}  # logits that a model may make at a time: 64 and 512 MiB in 16 bits
DEFAULT_BATCH = 8  # windows, where the vocabulary is not known


@dataclass(frozen=True, kw_only=True)
class TokenScores:
    """By predicted token, on the CPU: its negative log-likelihood in nats, and the number of its window; with a reference
    also KL(reference || model) where it is predicted, in nats, and whether both models' likeliest tokens are the same.
    """

    nll: Float[Tensor, " n"]
    window: Int[Tensor, " n"]
    kl: Float[Tensor, " n"] | None = None
    same: Bool[Tensor, " n"] | None = None


def score_tokens(
    model: nn.Module, cut: Cut, *, reference: nn.Module | None = None, batch_size: int | None = None
) -> TokenScores:
    """Read all windows once. Without a `batch_size`, in windows, one is chosen that bounds the logits of a batch.

    Raises FewbitsError for windows longer than the model has positions, ids beyond its embedding, models of different
    vocabularies, NaN and infinity.
    """
    models = (model,) if reference is None else (model, reference)
    for each in models:
        check_positions(each, cut.longest, f"'{cut.protocol}' makes windows")
        check_ids(each, (window.ids for window in cut.windows))
    columns: list[list[Tensor]] = [[], [], [], []]
    with evaluating(*models):
        for scores in _scored_windows(models, cut, batch_size or _batch_size(model, cut)):
            for column, values in zip(columns, scores, strict=False):
                column.append(values)
    window, nll, *divergence = (torch.cat(column).cpu() for column in columns if column)
    probabilities.need_numbers(nll, "the loss")
    kl, same = divergence if divergence else (None, None)
    return TokenScores(nll=nll, window=window, kl=kl, same=same)


def _score(index: int, targets: Tensor, logits: Sequence[Tensor]) -> list[Tensor]:
    scores = [torch.full_like(targets, index), probabilities.nll(logits[0], targets)]
    if len(logits) == 1:
        return scores
    return [*scores, *probabilities.compare(*logits)]


def _scored_windows(models: Sequence[nn.Module], cut: Cut, size: int) -> Iterator[list[Tensor]]:
    """The scores of each window. The logits of a batch are freed before the next is read."""
    total = ceil(len(cut.windows) / size)
    for ids, numbers in track(batches(cut, size), f"reading {cut.protocol}", total=total, unit="batch"):
        yield from _scores_of(answers_of(models, ids), [(number, cut.windows[number]) for number in numbers])


def _scores_of(answers: Sequence[Tensor], windows: Sequence[tuple[int, Window]]) -> list[list[Tensor]]:
    """The scores of a batch of windows from every model's logits."""
    scores = []
    for row, (number, window) in enumerate(windows):
        end = window.ids.numel() - 1  # the last token predicts what is not there
        places = slice(end - window.scored, end)
        targets = window.ids[-window.scored :].to(answers[0].device)
        scores.append(_score(number, targets, [answer[row, places] for answer in answers]))
    return scores


def _batch_size(model: nn.Module, cut: Cut) -> int:
    vocabulary = config_value(model, "vocab_size")
    if vocabulary is None:
        return DEFAULT_BATCH
    return max(1, LOGITS.get(device_of(model).type, LOGITS["cpu"]) // (vocabulary * cut.longest))
