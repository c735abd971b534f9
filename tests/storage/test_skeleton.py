"""timm's models, which are rebuilt here; transformers builds its own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fewbits
from fewbits import FewbitsError
from fewbits.storage.load import load_folder

timm = pytest.importorskip("timm")

MODELS = {
    "deit3_small_patch16_224": {"num_classes": 7, "img_size": 32, "depth": 2},
    "swin_tiny_patch4_window7_224": {"num_classes": 7, "depths": (2, 2), "num_heads": (3, 6), "embed_dim": 12},
    "eva02_tiny_patch14_224": {"num_classes": 7, "depth": 2},
    "mobilenetv3_small_050": {"num_classes": 7},
}


def made(name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    model = timm.create_model(name, **MODELS[name]).to(dtype).eval()
    return fewbits.quantize(model, "rtn:int4g8", on_misfit="channel")


def differences(a: nn.Module, b: nn.Module) -> list[str]:
    others = dict(b.named_parameters()) | dict(b.named_buffers())
    tensors = dict(a.named_parameters()) | dict(a.named_buffers())
    found = [n for n, t in tensors.items() if others[n].dtype != t.dtype or not torch.equal(others[n], t)]
    size = MODELS[a.pretrained_cfg["architecture"]].get("img_size", a.pretrained_cfg["input_size"][-1])
    image = torch.rand(1, 3, size, size).to(next(a.parameters()).dtype)
    with torch.no_grad():
        return found if torch.equal(a(image), b(image)) and tensors.keys() == others.keys() else [*found, "output"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_timm_model_comes_back(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = made(name, dtype)
    folder = fewbits.save(model, tmp_path / "out")
    assert differences(model, fewbits.load(folder)) == []
    asked = fewbits.load(folder, dtype=torch.float16)
    assert differences(model.to(torch.float16), asked) == []


def test_timm_folder_as_any_other_model(tmp_path: Path) -> None:
    folder = fewbits.save(made("mobilenetv3_small_050"), tmp_path / "out")
    loaded = load_folder(folder)
    assert (loaded.task, loaded.num_classes) == ("image-classification", 7)
    assert loaded.processor is not None and loaded.processor.config["crop_size"] == {"height": 224, "width": 224}


def test_large_weights_are_never_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fewbits.save(made("deit3_small_patch16_224"), tmp_path / "out")
    made_before: list[nn.Module] = []
    create = timm.create_model

    def spy(*arguments: Any, **others: Any) -> nn.Module:
        made_before.append(create(*arguments, **others))
        return made_before[0]

    monkeypatch.setattr(timm, "create_model", spy)
    plain = nn.Module.register_parameter
    devices = set[str]()
    rebuild = fewbits.storage.skeleton.rebuild

    def look(model: nn.Module, plan: Any) -> nn.Module:
        devices.update(str(m.weight.device) for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d))
        return rebuild(model, plan)

    monkeypatch.setattr(fewbits.storage.skeleton, "rebuild", look)
    fewbits.load(folder)
    assert made_before and devices == {"meta"}
    assert nn.Module.register_parameter is plain


def test_architecture_that_timm_lacks(tmp_path: Path) -> None:
    folder = fewbits.save(made("mobilenetv3_small_050"), tmp_path / "out")
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"architecture": "mobilenetv3_small_050"', '"architecture": "mobilenetv9"'))
    with pytest.raises(FewbitsError, match="cannot build its 'mobilenetv9'"):
        fewbits.load(folder)
