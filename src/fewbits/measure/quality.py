"""All that can be told of a model's quality from one pass over the data."""

from torch import nn

from fewbits.measure.accuracy import accuracy_from
from fewbits.measure.divergence import divergence_on_images, divergence_on_text
from fewbits.measure.images import Batches, score_images
from fewbits.measure.perplexity import perplexity_from
from fewbits.measure.protocols import Protocol
from fewbits.measure.result import Measure
from fewbits.measure.text import score_tokens
from fewbits.measure.windows import Tokens, cut


def text_quality(
    model: nn.Module,
    tokens: Tokens,
    protocol: str | Protocol = "windows:512",
    *,
    bos: int | None = None,
    reference: nn.Module | None = None,
    batch_size: int | None = None,
) -> dict[str, Measure]:
    """`ppl`, and against a reference `kl` and `top1`, of a language model, as `perplexity` and `text_divergence` tell them."""
    pieces = cut(tokens, protocol, bos=bos)
    scores = score_tokens(model, pieces, reference=reference, batch_size=batch_size)
    measures = {"ppl": perplexity_from(scores, pieces, model)}
    if reference is not None:
        divergence = divergence_on_text(scores, pieces, model, reference)
        measures |= {"kl": divergence.kl, "top1": divergence.top1}
    return measures


def image_quality(model: nn.Module, batches: Batches, *, reference: nn.Module | None = None) -> dict[str, Measure]:
    """`accuracy`, and against a reference `kl` and `top1`, of a classifier."""
    scores = score_images(model, batches, reference=reference)
    measures = {"accuracy": accuracy_from(scores, model)}
    if reference is not None:
        divergence = divergence_on_images(scores, model, reference)
        measures |= {"kl": divergence.kl, "top1": divergence.top1}
    return measures
