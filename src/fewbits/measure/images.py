"""A classifier read over batches of images, beside a reference if there is one: what it said of each."""

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from fewbits.errors import FewbitsError
from fewbits.measure import probabilities
from fewbits.measure.arithmetic import answers_of
from fewbits.measure.digest import BatchHash
from fewbits.measure.running import evaluating
from fewbits.progress import track

Images = Shaped[Tensor, "_ ..."]  # floats: scaled, normalised and resized as the model was trained on
Batches = Iterable[tuple[Images, Int[Tensor, " _"]]] | Iterable[Images]


@dataclass(frozen=True, kw_only=True)
class ImageScores:
    """By image, on the CPU: whether its label was found (if labels came), and against a reference KL and agreement."""

    data: str
    count: int
    correct: Bool[Tensor, " n"] | None = None
    kl: Float[Tensor, " n"] | None = None
    same: Bool[Tensor, " n"] | None = None


def score_images(model: nn.Module, batches: Batches, *, reference: nn.Module | None = None) -> ImageScores:
    """Read all batches once. Raises FewbitsError for images that are not floats, no images at all, labels without a class,
    and answers that are no numbers.
    """
    models = (model,) if reference is None else (model, reference)
    digest, count = BatchHash(), 0
    columns: dict[str, list[Tensor]] = {"correct": [], "kl": [], "same": []}
    with evaluating(*models):
        for images, labels in _batches(batches):
            digest.update(**({"images": images} if labels is None else {"images": images, "labels": labels}))
            count += len(images)
            for name, values in _score(_answers(models, images), labels).items():
                columns[name].append(values)
    if not count:
        raise FewbitsError("there are no images to measure on")
    scores = {name: torch.cat(column).cpu() for name, column in columns.items() if column}
    return ImageScores(data=str(digest), count=count, **scores)


def _batches(batches: Batches) -> Iterator[tuple[Tensor, Tensor | None]]:
    total = len(batches) if isinstance(batches, Sized) else None
    for batch in track(batches, "reading images", total=total, unit="batch"):
        images, labels = (batch, None) if isinstance(batch, Tensor) else batch
        if not images.is_floating_point():
            raise FewbitsError(f"images of {images.dtype}: scale and normalise them to floats, as the model was trained on")
        yield images, labels


def _answers(models: Sequence[nn.Module], images: Tensor) -> list[Float[Tensor, "b classes"]]:
    answers = answers_of(models, images)
    for model, logits in zip(models, answers, strict=True):
        if logits.ndim != 2:
            raise FewbitsError(
                f"{type(model).__name__} returns {list(logits.shape)}, not [images, classes]: it is no classifier"
            )
        probabilities.need_numbers(logits.amax(dim=-1), "the answer")  # amax passes NaN on
    return answers


def _score(logits: list[Tensor], labels: Tensor | None) -> dict[str, Tensor]:
    scores = {}
    if labels is not None:
        classes = logits[0].shape[-1]
        if int(labels.min()) < 0 or int(labels.max()) >= classes:
            wrong = int(labels.max()) if int(labels.max()) >= classes else int(labels.min())
            raise FewbitsError(f"label {wrong} is none of the model's {classes} classes: is the model made for these images?")
        scores["correct"] = logits[0].argmax(dim=-1) == labels.to(logits[0].device)
    if len(logits) > 1:
        scores["kl"], scores["same"] = probabilities.compare(*logits)
    return scores
