"""Pixels of image files of every mode."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewbits.data.pixels import read_pixels
from fewbits.errors import FewbitsError

RAMP = np.arange(16, dtype=np.uint16).reshape(4, 4) * 4369  # 0 to 65,535


def saved(path: Path, image: Image.Image) -> Path:
    image.save(path)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bits_are_scaled(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, Image.fromarray(RAMP))
    for channels in (1, 3):
        pixels = read_pixels(path, channels)
        assert pixels.shape == (4, 4, channels)
        assert all((pixels[..., c].numpy() == RAMP // 257).all() for c in range(channels))


def test_dark_sixteen_bits_stay_dark(tmp_path: Path) -> None:
    path = saved(tmp_path / "dark.png", Image.fromarray(np.full((2, 2), 514, np.uint16)))
    assert read_pixels(path, 1).flatten().tolist() == [2] * 4


@pytest.mark.parametrize(
    ("values", "want"),
    [
        (np.array([[0, 128, 255]], np.int32), [0, 128, 255]),
        (np.array([[0, 257, 65535]], np.int32), [0, 1, 255]),
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 100, 255]], np.float32), [0, 100, 255]),
        (np.array([[0, 65535]], np.float32), [0, 255]),
    ],
)
def test_thirty_two_bits(tmp_path: Path, values: np.ndarray, want: list[int]) -> None:
    path = saved(tmp_path / "a.tif", Image.fromarray(values))
    assert read_pixels(path, 1).flatten().tolist() == want


@pytest.mark.parametrize("wrong", [-1, 65536, float("nan"), float("inf")])
def test_thirty_two_bits_beyond_sixteen(tmp_path: Path, wrong: float) -> None:
    path = saved(tmp_path / "a.tif", Image.fromarray(np.array([[0, wrong]], np.float32)))
    with pytest.raises(FewbitsError, match=r"a\.tif: has grey values from .* 8 or 16 bits are offered"):
        read_pixels(path)


COLOUR = np.array([[[200, 100, 50], [0, 255, 10]]], np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1"])
def test_modes(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(COLOUR).convert(mode)
    path = saved(tmp_path / "a.png", image)
    assert (read_pixels(path).numpy() == np.array(image.convert("RGB"))).all()
    grey = read_pixels(path, 1).numpy()
    assert (grey[..., 0] == np.array(image.convert("RGB").convert("L"))).all()


def test_transparency_is_dropped(tmp_path: Path) -> None:
    clear = np.concatenate([COLOUR, np.zeros((1, 2, 1), np.uint8)], axis=2)
    assert (read_pixels(saved(tmp_path / "a.png", Image.fromarray(clear))).numpy() == COLOUR).all()


def test_a_palette_with_transparent_colours_gives_no_warning(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 100, 50, 0, 255, 10])
    image.putdata([0, 1])
    image.save(tmp_path / "a.png", transparency=b"\x00\x80")
    assert (read_pixels(tmp_path / "a.png").numpy() == COLOUR).all()


def test_cmyk(tmp_path: Path) -> None:
    image = Image.fromarray(COLOUR).convert("CMYK")
    path = saved(tmp_path / "a.tif", image)
    assert (read_pixels(path).numpy() == np.array(image.convert("RGB"))).all()


def test_orientation_is_left_alone_as_image_folders_do(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(COLOUR).save(tmp_path / "a.png", exif=exif)
    assert (read_pixels(tmp_path / "a.png").numpy() == COLOUR).all()


def _png_of_size(width: int, height: int) -> bytes:
    """A PNG that says how large it is and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_000, 20_000, 2_000_000_000])
def test_decompression_bombs(tmp_path: Path, side: int) -> None:
    (tmp_path / "a.png").write_bytes(_png_of_size(side, side))
    with pytest.raises(FewbitsError, match=r"a\.png: is too large: ") as caught:
        read_pixels(tmp_path / "a.png")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "bmp", "tiff", "webp", "ppm"])
def test_truncated_and_damaged_files(tmp_path: Path, kind: str) -> None:
    """Every cut and every changed byte gives pixels or one line that names the file."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(buffer, kind)
    whole, path = buffer.getvalue(), tmp_path / "a.png"
    rng = np.random.default_rng(1)
    wrong = [whole[: len(whole) * part // 20] for part in range(20)]
    for _ in range(60):
        damaged = bytearray(whole)
        for at in rng.integers(0, min(len(whole), 200), 3):
            damaged[at] = rng.integers(256)
        wrong.append(bytes(damaged))
    refused = 0
    for content in wrong:
        path.write_bytes(content)
        try:
            read_pixels(path)
        except FewbitsError as error:
            refused += 1
            assert str(error).startswith(str(path)) and "\n" not in str(error), error
    assert refused > 10


def test_no_program_is_started_for_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (programs := tmp_path / "bin").mkdir()
    ran = tmp_path / "ran"
    (programs / "gs").write_text(f"#!/bin/sh\ntouch {ran}\n")
    (programs / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # looked for once
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(x) run\n")
    with pytest.raises(FewbitsError, match=r"a\.png: cannot be read as an image"):
        read_pixels(path)
    assert not ran.exists()


def test_other_channels(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(COLOUR))
    with pytest.raises(FewbitsError, match=r"a\.png: the model takes 4 channels, images in files have 3 or 1"):
        read_pixels(path, 4)
