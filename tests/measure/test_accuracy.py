from math import sqrt

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModelForImageClassification

from fewbits.errors import FewbitsError
from fewbits.measure import accuracy
from tests.measure.tiny import tiny_classifier
from tests.shared import shared_path


class Says(nn.Module):
    """Finds the class in the image's first pixel."""

    def forward(self, images: Tensor) -> Tensor:
        return F.one_hot(images.flatten(1)[:, 0].long(), 4).float()


def batches(shown: list[int], labels: list[int], size: int = 3) -> list[tuple[Tensor, Tensor]]:
    images = torch.tensor(shown).float()[:, None, None, None].expand(-1, 3, 2, 2)
    pairs = zip(images.split(size), torch.tensor(labels).split(size), strict=True)
    return list(pairs)


def test_accuracy_by_hand() -> None:
    got = accuracy(Says(), batches([0, 1, 2, 3, 0, 1, 2, 3], [0, 1, 2, 3, 0, 1, 0, 0]))
    assert (got.name, got.value, got.n, got.parts["correct"]) == ("accuracy", 0.75, 8, 6)
    assert got.se == pytest.approx(sqrt(0.75 * 0.25 / 8))
    assert got.parts["ci95"] == pytest.approx([0.4093, 0.9285], abs=1e-4)


def test_how_images_are_cut_into_batches_changes_nothing() -> None:
    images, labels = torch.rand(20, 3, 4, 4), torch.randint(4, (20,))
    model = tiny_classifier().train()
    every = [accuracy(model, list(zip(images.split(n), labels.split(n), strict=True))) for n in (1, 7, 20)]
    assert every[0] == every[1] == every[2]
    assert model[1].running_mean.eq(0).all()  # measured in eval mode
    assert all(m.training for m in model.modules())


def test_a_generator_does_as_well() -> None:
    pairs = batches([0, 1, 2], [0, 0, 2])
    assert accuracy(Says(), (pair for pair in pairs)) == accuracy(Says(), pairs)


def test_a_model_in_half_precision_gets_its_own_dtype() -> None:
    model = tiny_classifier().bfloat16()
    got = accuracy(model, [(torch.rand(5, 3, 4, 4), torch.zeros(5, dtype=torch.int64))])
    assert got.parts["dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "there are no images"),
        ([(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))], "images of torch.uint8"),
        ([(torch.zeros(2, 3, 4, 4), torch.tensor([0, 4]))], "label 4 is none of the model's 4 classes"),
        ([(torch.zeros(2, 3, 4, 4), torch.tensor([0, -1]))], "label -1 is none"),
        ([torch.zeros(2, 3, 4, 4)], "accuracy needs labels"),
        ([(torch.full((2, 3, 4, 4), torch.nan), torch.tensor([0, 1]))], "the answer is NaN or infinite at 2 of 2"),
    ],
)
def test_what_cannot_be_measured_is_refused(data: list[object], message: str) -> None:
    with pytest.raises(FewbitsError, match=message):
        accuracy(tiny_classifier(), data)


def test_what_is_no_classifier_is_refused() -> None:
    with pytest.raises(FewbitsError, match=r"Conv2d returns \[1, 8, 2, 2\]"):
        accuracy(nn.Conv2d(3, 8, 3), [(torch.zeros(1, 3, 4, 4), torch.tensor([0]))])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "side", "correct"), [("vit-cifar10", 32, 830), ("mobilenetv2-cifar10", 64, 888)])
def test_trained_models_on_1_000_images(name: str, side: int, correct: int) -> None:
    with np.load(shared_path("data/cifar10_test.npz")) as data:
        images, labels = torch.from_numpy(data["images"][:1000]), torch.from_numpy(data["labels"][:1000]).long()
    mean, std = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2470, 0.2435, 0.2616])
    pixels = ((images / 255 - mean) / std).permute(0, 3, 1, 2)
    if side != 32:
        pixels = F.interpolate(pixels, size=side, mode="bilinear", align_corners=False)
    model = AutoModelForImageClassification.from_pretrained(shared_path(f"models/{name}"))
    got = accuracy(model, list(zip(pixels.split(100), labels.split(100), strict=True)))
    assert got.n == 1000
    assert got.parts["correct"] == pytest.approx(correct, abs=1)  # another machine's rounding may turn one image over
