"""Accuracy of a classifier: the share of images whose likeliest class is their label."""

from torch import nn

from fewbits.errors import FewbitsError
from fewbits.measure import arithmetic
from fewbits.measure.images import Batches, ImageScores, score_images
from fewbits.measure.result import Measure
from fewbits.measure.statistics import share_se, wilson

PROTOCOL = "images"


def accuracy(model: nn.Module, batches: Batches) -> Measure:
    """Share of images (0..1) that are classified as their labels say. A batch is (images [b, ...], labels [b]).

    The standard error is sqrt(p (1 - p) / n); parts: `correct`, and `ci95`, Wilson's interval. Raises FewbitsError for
    batches without labels, and as `images.score_images` does.
    """
    return accuracy_from(score_images(model, batches), model)


def accuracy_from(scores: ImageScores, model: nn.Module) -> Measure:
    """Accuracy from the scores of all images."""
    if scores.correct is None:
        raise FewbitsError("accuracy needs labels: each batch is (images, labels)")
    hits, n = int(scores.correct.sum()), scores.count
    return Measure(
        name="accuracy",
        value=hits / n,
        unit="",
        se=share_se(hits, n),
        n=n,
        protocol=arithmetic.named(PROTOCOL),
        data=scores.data,
        parts={"correct": hits, "ci95": list(wilson(hits, n)), **arithmetic.parts(model)},
    )
