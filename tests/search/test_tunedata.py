import pytest
import torch

from fewbits.errors import FewbitsError
from fewbits.search.tunedata import image_data, loss_data, text_data
from tests import tiny
from tests.search.tiny import ids


def test_nothing_is_verified_on_that_was_chosen_by() -> None:
    numbers = torch.arange(9000)
    data = text_data(numbers, bos=None, tokens=2048, samples=8, protocol="windows:512")
    chosen = torch.cat([b.flatten() for b in (*data.choose.batches, *data.gradients.batches)])
    held = torch.cat([w.ids for w in data.verify.cut.windows])  # type: ignore[attr-defined]
    assert chosen.max() < 6000 <= held.min()


def test_images_are_split_too() -> None:
    pixels = torch.arange(100.0).view(100, 1, 1, 1)
    data = image_data(pixels, torch.zeros(100, dtype=torch.int64), choose=40)
    held = torch.cat([b[0] for b in data.verify.batches])  # type: ignore[attr-defined]
    chosen = torch.cat(list(data.choose.batches))
    assert chosen.max() < held.min() and len(chosen) + len(held) == 100


def test_other_data_has_another_digest() -> None:
    a, b = (text_data(ids(2000, seed), bos=1, window=64, short=32) for seed in (0, 1))
    assert a.choose.digest != b.choose.digest and a.verify.digest != b.verify.digest


@pytest.mark.parametrize(
    "make",
    [
        lambda: text_data(ids(100), bos=1),
        lambda: image_data(tiny.images(16, 10), torch.zeros(10, dtype=torch.int64)),
        lambda: loss_data([], [torch.zeros(1)], lambda *_: torch.zeros(())),
        lambda: loss_data([torch.zeros(1)], [], lambda *_: torch.zeros(())),
    ],
)
def test_too_little(make: object) -> None:
    with pytest.raises(FewbitsError, match=r"too few|lists of batches"):
        make()  # type: ignore[operator]
