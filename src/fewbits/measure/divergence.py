"""How far a model's answers are from its original's: KL divergence and top-1 agreement, both from one pass.

Both see far smaller differences than perplexity and accuracy do, in which gains and losses cancel out.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from fewbits.measure import arithmetic, probabilities
from fewbits.measure.accuracy import PROTOCOL
from fewbits.measure.images import Batches, ImageScores, score_images
from fewbits.measure.perplexity import text_parts
from fewbits.measure.protocols import Protocol
from fewbits.measure.result import Measure
from fewbits.measure.running import ask, dtype_name
from fewbits.measure.statistics import clustered_mean, percentile
from fewbits.measure.text import TokenScores, score_tokens
from fewbits.measure.windows import Cut, Tokens, cut


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """`kl` is the mean of KL(reference || model) in nats; `top1` the share (0..1) of places where both like the same best.

    Parts of kl: `median`, `p99` and `max` over tokens or images. Standard errors take the windows of a text, or the images,
    as independent samples.
    """

    kl: Measure
    top1: Measure


class Remembered(nn.Module):
    """A reference that keeps its logits by input, so that many models can be held against it at the cost of one.

    Logits of 20,000 tokens and a vocabulary of 8,192 are 655 MB in float32. Beyond `most` bytes none are kept and the model is
    run again; by default that is a quarter of the free memory. The answers are the very same tensors.
    """

    def __init__(self, model: nn.Module, *, most: int | None = None) -> None:
        super().__init__()
        self.model = model
        self.config = getattr(model, "config", None)
        self._answers: dict[bytes, Tensor] = {}
        self._room = psutil.virtual_memory().available // 4 if most is None else most

    def get_input_embeddings(self) -> nn.Module:
        """The model's own, as transformers' models have it."""
        model: Any = self.model
        return model.get_input_embeddings()

    def forward(self, inputs: Shaped[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        plain = inputs.detach().cpu().contiguous()
        key = hashlib.sha256(f"{plain.dtype} {plain.shape}".encode() + plain.view(torch.uint8).numpy().tobytes()).digest()
        if key in self._answers:
            return self._answers[key]
        answer = ask(self.model, inputs)
        if answer.nbytes <= self._room:
            self._room -= answer.nbytes
            self._answers[key] = answer
        return answer


def text_divergence(
    model: nn.Module,
    reference: nn.Module,
    tokens: Tokens,
    protocol: str | Protocol = "windows:512",
    *,
    bos: int | None = None,
    batch_size: int | None = None,
) -> Divergence:
    """Divergence of two language models, from the full softmax where a token is predicted, as `perplexity` cuts the text.

    Raises FewbitsError as `windows.cut` and `text.score_tokens` do.
    """
    pieces = cut(tokens, protocol, bos=bos)
    return divergence_on_text(score_tokens(model, pieces, reference=reference, batch_size=batch_size), pieces, model, reference)


def image_divergence(model: nn.Module, reference: nn.Module, batches: Batches) -> Divergence:
    """Divergence of two classifiers; batches as for `accuracy`, labels may be left out."""
    return divergence_on_images(score_images(model, batches, reference=reference), model, reference)


def divergence_on_text(scores: TokenScores, pieces: Cut, model: nn.Module, reference: nn.Module) -> Divergence:
    """Divergence from the scores of all tokens."""
    parts = {**text_parts(pieces, model), "reference_dtype": dtype_name(reference)}
    return _divergence(scores, scores.window, protocol=str(pieces.protocol), data=pieces.data, parts=parts)


def divergence_on_images(scores: ImageScores, model: nn.Module, reference: nn.Module) -> Divergence:
    """Divergence from the scores of all images."""
    parts = {**arithmetic.parts(model), "reference_dtype": dtype_name(reference)}
    return _divergence(scores, torch.arange(scores.count), protocol=PROTOCOL, data=scores.data, parts=parts)


def _divergence(
    scores: TokenScores | ImageScores, cluster: Int[Tensor, " n"], *, protocol: str, data: str, parts: Mapping[str, Any]
) -> Divergence:
    if scores.kl is None or scores.same is None:
        raise ValueError("these scores were taken without a reference")
    probabilities.need_numbers(scores.kl, "the divergence")
    tail = {"median": percentile(scores.kl, 50), "p99": percentile(scores.kl, 99), "max": percentile(scores.kl, 100)}
    return Divergence(
        kl=_mean("kl", "nats", scores.kl, cluster, protocol, data, {**tail, **parts}),
        top1=_mean("top1", "", scores.same, cluster, protocol, data, parts),
    )


def _mean(
    name: str,
    unit: str,
    values: Float[Tensor, " n"] | Bool[Tensor, " n"],
    cluster: Int[Tensor, " n"],
    protocol: str,
    data: str,
    parts: Mapping[str, Any],
) -> Measure:
    mean = clustered_mean(values.double(), cluster)
    return Measure(
        name=name,
        value=mean.value,
        unit=unit,
        se=mean.se,
        n=len(values),
        protocol=arithmetic.named(protocol),
        data=data,
        parts=parts,
    )
