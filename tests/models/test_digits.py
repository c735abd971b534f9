"""The network of `demo-vision`, and the trained one."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForImageClassification

from fewbits import data, models
from fewbits.models.digits import DigitsConfig, DigitsForImageClassification, register
from tests.models.folders import saved


def test_it_is_saved_and_loaded_as_any_classifier(tmp_path: Path) -> None:
    register()
    model = DigitsForImageClassification(DigitsConfig(hidden_size=16, num_labels=4)).eval()
    folder = saved(model, tmp_path)
    pixels = torch.randn(3, 1, 8, 8)
    assert torch.equal(models.load(folder).model(pixels).logits, model(pixels).logits)
    assert torch.equal(AutoModelForImageClassification.from_pretrained(folder)(pixels).logits, model(pixels).logits)


def test_the_loss_is_the_cross_entropy() -> None:
    model = DigitsForImageClassification(DigitsConfig(hidden_size=16)).eval()
    pixels, labels = torch.randn(3, 1, 8, 8), torch.tensor([0, 1, 1])
    answer = model(pixels, labels=labels)
    assert torch.allclose(answer.loss, nn.functional.cross_entropy(answer.logits, labels))
    assert model(pixels).loss is None


def test_groups_of_64_divide_all_layers_but_two() -> None:
    layers = models.load("demo-vision", weights=False).model.named_modules()
    inputs = {name: m.weight[0].numel() for name, m in layers if isinstance(m, nn.Conv2d | nn.Linear)}
    assert [name for name, count in inputs.items() if count % 64] == ["stem.0", "depthwise.0"]


def test_the_trained_one_knows_its_digits() -> None:
    pytest.importorskip("sklearn")
    loaded = models.load("demo-vision")
    images = data.load_images("demo", processor=loaded.processor, labels=loaded.labels, num_classes=loaded.num_classes)
    assert len(images) == 599
    with torch.no_grad():
        right = sum(int((loaded.model(pixels).logits.argmax(-1) == labels).sum()) for pixels, labels in images.batches())
    assert right == 592  # 98.83 %, as it was trained
