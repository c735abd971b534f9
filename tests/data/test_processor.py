"""Settings of image processors, as they lie in a folder."""

import json
import sys
from pathlib import Path

import pytest

from fewbits.data.prepare import preparation_from
from fewbits.data.processor import FILE, ImageProcessor
from fewbits.errors import FewbitsError


def test_what_is_read_is_what_is_written(tmp_path: Path) -> None:
    assert ImageProcessor.read(tmp_path) is None
    config = {"do_resize": False, "do_rescale": True, "do_normalize": False, "own": [1, None]}
    ImageProcessor(config=config).save_pretrained(tmp_path)
    read = ImageProcessor.read(tmp_path)
    assert read == ImageProcessor(config=config, folder=tmp_path)
    assert read is not None and read.settings() == config


@pytest.mark.parametrize("text", ["{", "[]"])
def test_what_is_no_json(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(FewbitsError, match="JSON"):
        ImageProcessor.read(tmp_path)


def old(folder: Path) -> ImageProcessor:
    """Settings as they were written some years ago: the size is a number, and rescaling goes without saying."""
    config = {"feature_extractor_type": "DeiTFeatureExtractor", "do_resize": True, "size": 256, "resample": 3}
    config |= {"do_center_crop": True, "crop_size": 224, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / FILE).write_text(json.dumps(config))
    processor = ImageProcessor.read(folder)
    assert processor is not None
    return processor


def test_an_old_file_is_completed_by_transformers(tmp_path: Path) -> None:
    steps = preparation_from(old(tmp_path).settings())
    assert (steps.size, steps.crop, steps.resampling) == ((256, 256), (224, 224), "bicubic")
    assert steps.scale == pytest.approx(1 / 255)


def test_an_old_file_of_a_class_that_is_not_known(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"feature_extractor_type": "OwnFeatureExtractor"}')
    processor = ImageProcessor.read(tmp_path)
    assert processor is not None
    with pytest.raises(FewbitsError, match=r"transformers cannot read its preprocessor_config\.json"):
        processor.settings()


def test_an_old_file_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processor = old(tmp_path)
    import transformers

    class Missing:
        @staticmethod
        def from_pretrained(*_: object, **__: object) -> None:
            raise ImportError("requires the PIL library")

    monkeypatch.setitem(sys.modules, "transformers", transformers)
    monkeypatch.setattr(transformers, "AutoImageProcessor", Missing)
    with pytest.raises(FewbitsError, match="pip install pillow"):
        processor.settings()
