"""The weight files of a folder, looked at before they are loaded: safetensors only, all there, none cut short."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from fewbits.data.names import one_line
from fewbits.errors import FewbitsError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
OTHERS = ("*.gguf", "*.msgpack", "*.h5", "*.onnx")


def check_weights(folder: Path) -> None:
    """Raise FewbitsError for a folder without safetensors, with a shard missing, or with a file that is not whole.

    Only the files' headers are read: they tell how long each file must be.
    """
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise FewbitsError(
                f"{path}: is truncated or no safetensors file ({one_line(error)}): copy or download it again"
            ) from None


def weight_files(folder: Path) -> list[Path]:
    """`model.safetensors`, or the shards that the index names. Raises FewbitsError where they are not there."""
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if not (folder / INDEX).is_file():
        raise FewbitsError(f"{folder}: has no {SINGLE}{_instead(folder)}")
    try:
        names = sorted(set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FewbitsError(f"{folder / INDEX}: is no index of shards: {one_line(error)}") from None
    for name in names:
        if not (folder / name).is_file():
            raise FewbitsError(f"{folder / name}: is missing, one of {len(names)} shards: copy or download the folder again")
    return [folder / name for name in names]


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
