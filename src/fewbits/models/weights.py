"""The weight files of a folder, looked at before they are loaded: safetensors only, all there, none cut short."""

from pathlib import Path

from fewbits.errors import FewbitsError
from fewbits.files import check_file
from fewbits.shards import INDEX, SINGLE, present, shards_of
from fewbits.storage.headers import Stored, stored

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
OTHERS = ("*.gguf", "*.msgpack", "*.h5", "*.onnx")


def check_weights(folder: Path) -> dict[str, Stored]:
    """Check the weight files of a folder by their headers, which say how long each file must be.

    Returns:
        The tensors that they hold.

    Raises:
        FewbitsError: There are no safetensors, a shard is missing, a file is truncated or damaged, or two files hold
            different tensors of one name.
    """
    return stored(weight_files(folder), same_twice=True)


def weight_files(folder: Path) -> list[Path]:
    """`model.safetensors`, or the shards that the index names. Raises FewbitsError where they are not there."""
    if present(folder / SINGLE):
        check_file(folder / SINGLE)
        return [folder / SINGLE]
    if not present(folder / INDEX):
        raise FewbitsError(f"{folder}: has no {SINGLE}{_instead(folder)}")
    return shards_of(folder)


def _instead(folder: Path) -> str:
    """What it has instead, and why that is not read."""
    for pattern in PICKLES:
        if found := sorted(folder.glob(pattern)):
            return (
                f", only {found[0].name}: a pickle can run code when it is opened, so fewbits reads none;"
                " save the model again with transformers' save_pretrained, which writes safetensors"
            )
    for pattern in OTHERS:
        if found := sorted(folder.glob(pattern)):
            return f", only {found[0].name}: give the original model in safetensors"
    return " (nor shards with their index): only safetensors are read"
