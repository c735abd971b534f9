"""Models side by side, some of which fail."""

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fewbits import strictjson
from fewbits.errors import FewbitsError
from fewbits.evaluate import compare
from fewbits.evaluate.compare import evaluate
from fewbits.evaluate.row import document
from fewbits.evaluate.settings import Settings
from fewbits.evaluate.speed import image_shape
from fewbits.models import Loaded, load
from tests import tiny
from tests.measure.tiny import tiny_llama

FAST: dict[str, Any] = {"prompt": 4, "new_tokens": 2, "repeats": 1, "max_tokens": 200, "protocol": "windows:32"}


class Letters:
    """A tokenizer of 64 letters."""

    bos_token_id = 1

    def __init__(self, shift: int = 0) -> None:
        self.shift = shift

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) % 64 for letter in text]}

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [chr(64 + index + self.shift) for index in ids]


class Broken(nn.Module):
    """Fails whenever it runs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.inner, self.config = model, model.config

    def forward(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("it broke\non two lines")


def nan_model() -> nn.Module:
    model: Any = tiny_llama()
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    return model


def language(name: str, model: nn.Module, **changes: Any) -> Loaded:
    return Loaded(**({"model": model, "name": name, "source": name, "task": "causal-lm", "tokenizer": Letters()} | changes))


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models by name."""

    def found(name: str, _: Settings) -> Loaded:
        if name == "nowhere":
            raise FewbitsError("'nowhere': no such folder")
        made = {
            "good": lambda: language(name, tiny_llama()),
            "other": lambda: language(name, tiny_llama(seed=1)),
            "broken": lambda: language(name, Broken(tiny_llama())),
            "nan": lambda: language(name, nan_model()),
            "mute": lambda: language(name, tiny_llama(), tokenizer=None),
            "shifted": lambda: language(name, tiny_llama(), tokenizer=Letters(1)),
            "wide": lambda: language(name, tiny_llama(vocab_size=80)),
            "short": lambda: language(name, tiny_llama(max_position_embeddings=16)),
            "sees": lambda: Loaded(model=tiny.vit(), name=name, source=name, task="image-classification", num_classes=10),
        }
        return made[name]()

    monkeypatch.setattr(compare, "_load", found)


@pytest.mark.usefixtures("zoo")
def test_a_model_that_cannot_be_loaded_leaves_the_others() -> None:
    rows = evaluate(["nowhere", "good"], ["int8"], Settings(measures=("size", "ppl"), **FAST))
    assert [row.failed for row in rows] == [True, True, False]
    assert [row.label for row in rows] == ["as it is", "rtn:int8", "as it is"]
    assert rows[0].problem == rows[1].problem == "'nowhere': no such folder"
    assert set(rows[2].measures) == {"size", "ppl"}
    first, _, last = json.loads(strictjson.dumps(document(rows)))["results"]
    assert first["measures"]["ppl"] == {"value": None, "error": "'nowhere': no such folder"}
    assert first["error"] == "'nowhere': no such folder" and first["coverage"] is None
    assert last["measures"]["ppl"]["value"] > 1 and "error" not in last


@pytest.mark.usefixtures("zoo")
@pytest.mark.parametrize(
    ("name", "lost", "kept", "said"),
    [
        (
            "broken",
            {"ppl", "latency", "peak_memory"},
            {"size", "resident"},
            "RuntimeError: it broke on two lines",
        ),
        ("nan", {"ppl"}, {"size", "latency", "decode_speed"}, "the loss is NaN or infinite at"),
        ("mute", {"ppl"}, {"size", "latency", "decode_speed"}, "the model has no tokenizer"),
        ("short", {"ppl"}, {"size", "latency", "decode_speed"}, "has 16 positions"),
    ],
)
def test_a_measure_that_fails_leaves_the_others(name: str, lost: set[str], kept: set[str], said: str) -> None:
    good, bad = evaluate(["good", name], [], Settings(**FAST))
    assert not good.failed and {"size", "ppl", "latency", "decode_speed", "peak_memory"} <= set(good.measures)
    assert lost <= set(bad.errors) and kept <= set(bad.measures) and not set(bad.errors) & set(bad.measures)
    assert said in bad.errors["ppl"] and "\n" not in "".join(bad.errors.values())
    text = strictjson.dumps(document([good, bad]))
    read = json.loads(text, parse_constant=pytest.fail)["results"][1]["measures"]["ppl"]
    assert read == {"value": None, "error": bad.errors["ppl"]}


@pytest.mark.usefixtures("zoo")
def test_values_that_are_no_numbers_are_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["fewbits.measure.perplexity"], "exp", lambda _: math.inf)
    (row,) = evaluate(["good"], [], Settings(measures=("size", "ppl"), **FAST))
    assert (row.errors, set(row.measures)) == ({"ppl": "the value is inf"}, {"size"})


@pytest.mark.usefixtures("zoo")
def test_a_reference_that_fails_leaves_perplexity() -> None:
    (row,) = evaluate(["good"], [], Settings(measures=("ppl", "kl", "top1"), reference="nan", **FAST))
    assert set(row.measures) == {"ppl"} and set(row.errors) == {"kl", "top1"}
    (row,) = evaluate(["good"], [], Settings(measures=("ppl", "kl"), reference="broken", **FAST))
    assert set(row.measures) == {"ppl"} and row.errors["kl"].startswith("RuntimeError")


@pytest.mark.usefixtures("zoo")
@pytest.mark.parametrize(
    ("name", "reference", "said"),
    [
        ("good", "sees", "good is for causal-lm, its reference sees for image-classification"),
        ("sees", "good", "sees is for image-classification, its reference good for causal-lm"),
        ("good", "wide", "good has a vocabulary of 64, its reference wide one of 80"),
        ("good", "shifted", r"token \d+ is '.' for good and '.' for its reference shifted"),
        ("good", "nowhere", "no such folder"),
    ],
)
def test_references_that_do_not_go_with_the_model(name: str, reference: str, said: str) -> None:
    with pytest.raises(FewbitsError, match=said):
        evaluate([name], [], Settings(measures=("kl",), reference=reference, **FAST))


@pytest.mark.usefixtures("zoo")
def test_a_reference_for_some_of_the_models() -> None:
    good, wide = evaluate(["other", "wide"], [], Settings(measures=("size", "kl"), reference="good", **FAST))
    assert good.measures["kl"].value > 0 and "has a vocabulary of 80" in wide.errors["kl"] and "size" in wide.measures


@pytest.mark.usefixtures("zoo")
def test_measures_that_apply_to_some() -> None:
    text, images = evaluate(["good", "sees"], [], Settings(measures=("size", "ppl"), **FAST))
    assert set(text.measures) == {"size", "ppl"} and set(images.measures) == {"size"}
    assert images.errors == {"ppl": "does not apply to image-classification"}
    with pytest.raises(FewbitsError, match="measure 'accuracy' does not apply to causal-lm"):
        evaluate(["good", "other"], [], Settings(measures=("size", "accuracy"), **FAST))


@pytest.mark.usefixtures("zoo")
@pytest.mark.parametrize(
    ("names", "settings", "said"),
    [
        (["nowhere"], {}, "'nowhere': no such folder"),
        (["good"], {"text": "no.txt"}, "no.txt: no such file"),
        (["good"], {"protocol": "windows:500", "max_tokens": 100}, "do not fill one window"),
        (["short"], {"measures": ("ppl",)}, "has 16 positions"),
        (["nan"], {"measures": ("ppl",)}, "nan: ppl: the loss is NaN"),
        (["good"], {"measures": ("kl",)}, "--reference MODEL"),
        (["sees"], {"images": "no.npz"}, "no.npz: no such file"),
    ],
)
def test_bad_input_that_concerns_all(names: list[str], settings: dict[str, Any], said: str) -> None:
    with pytest.raises(FewbitsError, match=said):
        evaluate(names, [], Settings(**(FAST | settings)))


@pytest.mark.parametrize(
    ("size", "config", "want"),
    [
        ({"size": {"shortest_edge": 36}, "do_center_crop": True, "crop_size": {"height": 32, "width": 24}}, 16, (3, 32, 24)),
        ({"size": {"height": 20, "width": 24}}, 16, (3, 20, 24)),
        (None, 48, (3, 48, 48)),
        (None, [48, 32], (3, 48, 32)),
        (None, None, (3, 224, 224)),
    ],
)
def test_images_are_timed_at_the_size_that_the_model_reads(size: Any, config: Any, want: tuple[int, int, int]) -> None:
    from fewbits.data import ImageProcessor

    steps = {"do_resize": True, "do_rescale": False, "do_normalize": False}
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    model.config = SimpleNamespace(image_size=config)  # type: ignore[assignment]
    processor = None if size is None else ImageProcessor(config=steps | size)
    loaded = Loaded(model=model, name="x", source="x", task="image-classification", processor=processor)
    assert image_shape(loaded) == want


def test_a_grey_classifier_reads_a_folder(tmp_path: Path) -> None:
    """demo-vision takes one channel of 0 to 16."""
    pytest.importorskip("sklearn")
    from PIL import Image

    from fewbits.data.digits import digits

    images, labels = digits("test")
    for at in range(40):
        folder = tmp_path / str(labels[at].item())
        folder.mkdir(exist_ok=True)
        grey = images[at, ..., 0].numpy().astype(np.uint8)
        Image.fromarray(np.stack([grey] * 3, axis=2)).save(folder / f"{at}.png")
    (row,) = evaluate(["demo-vision"], [], Settings(measures=("accuracy",), images=str(tmp_path)))
    assert row.measures["accuracy"].value > 0.9 and load("demo-vision").num_classes == 10
