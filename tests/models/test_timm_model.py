"""timm's models, without its weights from the hub: those that are looked for are given by a stand-in for the hub."""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import errors

from fewbits import models
from fewbits.data.prepare import preparation_from
from fewbits.errors import FewbitsError
from fewbits.models.quiet import quietly

timm: Any = pytest.importorskip("timm")
NAME = "test_resnet"  # 0.5 million weights, at 160 pixels


def created(**settings: Any) -> torch.nn.Module:
    with quietly():
        return timm.create_model(NAME, **settings)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in timm's format: five named classes."""
    torch.manual_seed(0)
    model = created(num_classes=5)
    timm.models.save_for_hf(model, tmp_path, model_args={}, safe_serialization=True)
    config = json.loads((tmp_path / "config.json").read_text()) | {"label_names": list("abcde")}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_a_folder_in_timms_format(folder: Path) -> None:
    loaded = models.load(folder)
    torch.manual_seed(0)
    same = created(num_classes=5).state_dict()
    assert all(torch.equal(tensor, same[name]) for name, tensor in loaded.model.state_dict().items())
    assert (loaded.task, loaded.num_classes, loaded.labels) == ("image-classification", 5, tuple("abcde"))
    assert not loaded.model.training
    meta = models.load(folder, weights=False, dtype="bf16")
    assert {(p.device.type, p.dtype) for p in meta.model.parameters()} == {("meta", torch.bfloat16)}
    assert meta.num_classes == 5


def test_a_name_without_weights() -> None:
    loaded = models.load(f"timm/{NAME}", weights=False, classes=7)
    assert all(p.is_meta for p in loaded.model.parameters())
    assert (loaded.num_classes, loaded.source, loaded.task) == (7, f"timm/{NAME}", "image-classification")


def test_the_processor_is_timms_own_evaluation() -> None:
    processor = models.load("timm/deit3_small_patch16_224", weights=False).processor
    assert processor is not None
    steps = preparation_from(processor.settings())
    assert (steps.shortest, steps.crop, steps.resampling) == (248, (224, 224), "bicubic")
    assert (steps.mean, steps.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_pretrained_weights_come_from_the_hub(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(1)
    model = created()
    timm.models.save_for_hf(model, folder, model_args={}, safe_serialization=True)
    asked = []

    def snapshot_download(repo: str, **options: Any) -> str:
        asked.append(repo)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with caplog.at_level(logging.WARNING, "fewbits"):
        loaded = models.load(f"timm/{NAME}")
    assert asked == [timm.get_pretrained_cfg(NAME).hf_hub_id]
    assert torch.equal(loaded.model.get_parameter("conv1.0.weight"), model.get_parameter("conv1.0.weight"))
    assert not caplog.records
    other = models.load(f"timm/{NAME}", classes=7)
    assert other.num_classes == 7
    assert torch.equal(other.model.get_parameter("conv1.0.weight"), model.get_parameter("conv1.0.weight"))
    assert "the head for 7 is random" in caplog.text


def test_a_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(repo: str, **_: Any) -> str:
        raise errors.OfflineModeIsEnabled("offline")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(FewbitsError, match=rf"out of reach .* instead of timm/{NAME}"):
        models.load(f"timm/{NAME}")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet19", "no model 'resnet19'; did you mean 'timm/resnet18'"),
        ("nothing_at_all_like_it", "no model 'nothing_at_all_like_it'$"),
        ("resnet18.in1k", "no weights 'in1k': .*a1_in1k"),
    ],
)
@pytest.mark.parametrize("weights", [True, False])
def test_unknown_names(name: str, said: str, weights: bool) -> None:
    with pytest.raises(FewbitsError, match=said):
        models.load(f"timm/{name}", weights=weights)


def test_a_model_without_weights_on_the_hub() -> None:
    with pytest.raises(FewbitsError, match="has no weights for it on the hub"):
        models.load("timm/efficientnet_b8")


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(FewbitsError, match=r"pip install 'fewbits\[vision\]'"):
        models.load(f"timm/{NAME}", weights=False)
