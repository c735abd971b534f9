import hashlib
from pathlib import Path

import pytest

from fewbits import FewbitsError
from fewbits.storage import checksums


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(range(256)) * 5000)
    return path


def test_is_sha256(file: Path) -> None:
    assert checksums.of_files([file]) == {file.name: hashlib.sha256(file.read_bytes()).hexdigest()}


def test_unchanged_file_passes(file: Path) -> None:
    checksums.verify(file.parent, checksums.of_files([file]))


@pytest.mark.parametrize("at", [0, 600_000, -1])
def test_altered_byte(file: Path, at: int) -> None:
    sums = checksums.of_files([file])
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    with pytest.raises(FewbitsError, match=r"model\.safetensors: was truncated or altered"):
        checksums.verify(file.parent, sums)


def test_truncated_file(file: Path) -> None:
    sums = checksums.of_files([file])
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(FewbitsError, match=r"model\.safetensors: was truncated or altered"):
        checksums.verify(file.parent, sums)


def test_missing_file(file: Path) -> None:
    sums = checksums.of_files([file])
    file.unlink()
    with pytest.raises(FewbitsError, match=r"model\.safetensors: is missing"):
        checksums.verify(file.parent, sums)
