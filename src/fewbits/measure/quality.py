"""All that can be told of a model's quality from one pass over the data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from fewbits.errors import FewbitsError
from fewbits.measure.accuracy import accuracy_from
from fewbits.measure.divergence import Divergence, divergence_on_images, divergence_on_text
from fewbits.measure.images import Batches, score_images
from fewbits.measure.perplexity import perplexity_from
from fewbits.measure.protocols import Protocol
from fewbits.measure.result import Measure
from fewbits.measure.text import score_tokens
from fewbits.measure.windows import Cut, Tokens, cut

Part = Callable[[], dict[str, Measure]]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one pass over the data gave: measures by name, and what went wrong with others."""

    measures: Mapping[str, Measure]
    errors: Mapping[str, Exception]

    def all(self) -> dict[str, Measure]:
        """All measures. Raises the first error if there is one."""
        for error in self.errors.values():
            raise error
        return dict(self.measures)


def text_quality(
    model: nn.Module,
    tokens: Tokens,
    protocol: str | Protocol = "windows:512",
    *,
    bos: int | None = None,
    reference: nn.Module | None = None,
    batch_size: int | None = None,
) -> dict[str, Measure]:
    """`ppl`, and against a reference `kl` and `top1`, of a language model, as `perplexity` and `text_divergence` give them."""
    return text_outcome(model, cut(tokens, protocol, bos=bos), reference=reference, batch_size=batch_size).all()


def image_quality(model: nn.Module, batches: Batches, *, reference: nn.Module | None = None) -> dict[str, Measure]:
    """`accuracy`, and against a reference `kl` and `top1`, of a classifier."""
    return image_outcome(model, batches, reference=reference).all()


def text_outcome(
    model: nn.Module, pieces: Cut, *, reference: nn.Module | None = None, batch_size: int | None = None
) -> Outcome:
    """As `text_quality`, keeping what can be measured if something cannot. If the reference fails, the model is read alone."""

    def read(other: nn.Module | None) -> Outcome:
        scores = score_tokens(model, pieces, reference=other, batch_size=batch_size)
        parts: dict[str, Part] = {"ppl": lambda: {"ppl": perplexity_from(scores, pieces, model)}}
        if other is not None:
            parts["kl"] = lambda: _both(divergence_on_text(scores, pieces, model, other))
        return _outcome(parts)

    return _read(read, reference, "ppl")


def image_outcome(model: nn.Module, batches: Batches, *, reference: nn.Module | None = None) -> Outcome:
    """As `image_quality`, keeping what can be measured if something cannot. If the reference fails, the model is read alone."""

    def read(other: nn.Module | None) -> Outcome:
        scores = score_images(model, batches, reference=other)
        parts: dict[str, Part] = {"accuracy": lambda: {"accuracy": accuracy_from(scores, model)}}
        if other is not None:
            parts["kl"] = lambda: _both(divergence_on_images(scores, model, other))
        return _outcome(parts)

    return _read(read, reference, "accuracy")


def _read(read: Callable[[nn.Module | None], Outcome], reference: nn.Module | None, own: str) -> Outcome:
    try:
        return read(reference)
    except Exception as error:  # of any type: the models' own code
        if reference is None:
            return Outcome(measures={}, errors={own: error})
        alone = _read(read, None, own)
        return Outcome(measures=alone.measures, errors={**alone.errors, "kl": error, "top1": error})


def _outcome(parts: Mapping[str, Part]) -> Outcome:
    measures: dict[str, Measure] = {}
    errors: dict[str, Exception] = {}
    for name, part in parts.items():
        try:
            measures |= part()
        except FewbitsError as error:
            errors |= dict.fromkeys(("kl", "top1") if name == "kl" else (name,), error)
    return Outcome(measures=measures, errors=errors)


def _both(found: Divergence) -> dict[str, Measure]:
    return {"kl": found.kl, "top1": found.top1}
