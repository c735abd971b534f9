"""Images made ready, against the image processors of transformers on many sizes.

Theirs run in a process of their own without torchvision, whose backend rounds otherwise.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fewbits.data.prepare import preparation_from

_CLASSES = (
    "Beit", "Bit", "CLIP", "ConvNext", "DeiT", "EfficientNet", "Levit", "MobileNetV1", "MobileNetV2", "MobileViT", "Pvt",
    "Segformer", "Siglip", "ViT",
)  # fmt: skip
_CROP = {"do_center_crop": True, "crop_size": {"height": 31, "width": 30}}
_CHANGES: tuple[dict[str, Any], ...] = (
    {},
    {"size": {"shortest_edge": 37}},
    {"size": {"shortest_edge": 37}, **_CROP},
    {"size": {"height": 40, "width": 33}, "resample": 1},
    {"size": {"height": 40, "width": 33}, **_CROP},
    {"do_resize": False, **_CROP},
    {"do_resize": False, "do_center_crop": True, "crop_size": {"height": 81, "width": 80}},
    {"do_rescale": False, "do_normalize": False},
    {"do_normalize": True, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]},
)
_SIZES = ((50, 70), (70, 51), (32, 32), (29, 45), (97, 60))

_THEIRS = """
import json, sys, warnings
sys.modules["torchvision"] = None
warnings.filterwarnings("ignore")
import numpy, transformers
from PIL import Image
cases, arrays, settings = json.load(open(sys.argv[1])), {}, {}
pictures = numpy.load(sys.argv[2])
for name, (kind, changes) in cases.items():
    try:
        processor = getattr(transformers, kind)(**changes)
        for at, picture in pictures.items():
            arrays[f"{name} {at}"] = processor(Image.fromarray(picture), return_tensors="np")["pixel_values"][0]
    except (AttributeError, ValueError, KeyError, TypeError):  # a size or class that this release does not take
        continue
    settings[name] = {**processor.to_dict(), "image_processor_type": kind.removesuffix("Pil")}
numpy.savez(sys.argv[3], **arrays)
json.dump(settings, open(sys.argv[4], "w"))
"""

_CASES = {
    f"{kind} {at}": (f"{kind}ImageProcessorPil", changes)
    for kind in _CLASSES
    for at, changes in enumerate(_CHANGES)
    if not (kind == "ConvNext" and "size" in changes and "do_center_crop" in changes)  # refused, see test_prepare
}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, dict[str, Any]]:
    """Pictures, what transformers makes of them, and the settings of its processors."""
    folder: Path = tmp_path_factory.mktemp("processors")
    rng = np.random.default_rng(0)
    pictures = {f"{h}x{w}": rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in _SIZES}
    np.savez(folder / "pictures.npz", **pictures)
    (folder / "cases.json").write_text(json.dumps(_CASES))
    files = [str(folder / name) for name in ("cases.json", "pictures.npz", "theirs.npz", "settings.json")]
    subprocess.run([sys.executable, "-c", _THEIRS, *files], check=True, capture_output=True, timeout=300)
    return pictures, np.load(files[2]), json.loads(Path(files[3]).read_text())


@pytest.mark.parametrize("kind", _CLASSES)
def test_as_transformers_prepares_them(kind: str, theirs: tuple[Any, Any, dict[str, Any]]) -> None:
    pictures, prepared, settings = theirs
    found = [name for name in settings if name.startswith(f"{kind} ")]
    assert len(found) >= 5
    for name in found:
        steps = preparation_from(settings[name])
        for at, picture in pictures.items():
            ours, want = steps(torch.from_numpy(picture)[None])[0].numpy(), prepared[f"{name} {at}"]
            assert ours.shape == want.shape, (name, at, _CASES[name])
            assert np.abs(ours - want).max() < 3e-5, (name, at, _CASES[name])
