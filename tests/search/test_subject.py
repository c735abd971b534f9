import pytest
import torch

from fewbits.errors import FewbitsError
from fewbits.search.settings import DataSettings
from fewbits.search.subject import subject


def test_demo_vision_is_tuned_by_the_digits_without_options() -> None:
    found = subject("demo-vision", DataSettings(samples=8))
    assert found.sources == ("chosen by demo", "verified on images that it was not chosen by")
    chosen = torch.cat(list(found.data.choose.batches))
    held = torch.cat([images for images, _ in found.data.verify.batches])  # type: ignore[attr-defined]
    same = (chosen[:, None] == held[None]).flatten(2).all(dim=2)
    assert len(chosen) >= 64 and not same.any()


def test_images_are_drawn_by_the_seed() -> None:
    first, second, other = (subject("demo-vision", DataSettings(samples=8, seed=s)).data.choose.digest for s in (0, 0, 1))
    assert first == second != other


@pytest.mark.parametrize(
    ("name", "settings", "helps"),
    [
        ("demo", DataSettings(images="x.npz"), "--text"),
        ("demo-vision", DataSettings(text="x.txt"), "--images"),
        ("demo", DataSettings(verify="nowhere.txt"), "nowhere.txt"),
        ("demo-vision", DataSettings(verify="nowhere.npz"), "nowhere.npz"),
    ],
)
def test_refusals(name: str, settings: DataSettings, helps: str) -> None:
    with pytest.raises(FewbitsError, match=helps):
        subject(name, settings)
