"""The weight files of a folder, looked at before they are loaded: safetensors only, all there, none cut short, of floats."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fewbits.errors import FewbitsError, shown
from fewbits.files import check_file, reason
from fewbits.models.bounded import UNSEEN, Bound
from fewbits.shards import INDEX, SINGLE, present, shards_of
from fewbits.storage.headers import Stored, stored

if TYPE_CHECKING:
    from torch import nn

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
FLOATS = ("F64", "F32", "F16", "BF16")
_NEVER_FLOATS = ("F8_", "F4", "F6_")  # dtypes of weights that make no sense without their scales
_WEIGHTS = ("weight", "kernel", "qweight", "qzeros", "weight_packed", "weight_quantized", "blocks")  # last parts of names
_OF_QUANTIZED = frozenset({
    "weight_scale", "weight_scale_inv", "weight_scale_2", "weight_zero_point", "weight_packed", "weight_shape", "weight_g_idx",
    "input_scale", "output_scale", "activation_scale", "qweight", "qzeros", "scales", "g_idx", "SCB", "CB", "absmax", "quant_map",
    "nested_absmax", "nested_quant_map", "bitsandbytes__nf4", "bitsandbytes__fp4", "W_q", "codes", "scale_codes", "scale_steps",
})  # fmt: skip  # last parts of the names of what belongs to a quantized weight
_OF_ADAPTERS = (
    "lora_",
    "base_layer",
    "modules_to_save",
    "vera_lambda_",
    "hada_w",
    "lokr_w",
    "oft_r",
    "ia3_l",
)  # starts of parts of names
OTHERS = ("*.gguf", "*.msgpack", "*.h5", "*.onnx")


def check_weights(folder: Path) -> dict[str, Stored]:
    """Check the weight files of a folder by their headers, which say how long each file must be.

    Returns:
        The tensors that they hold.

    Raises:
        FewbitsError: There are no safetensors, a shard is missing, a file is truncated or damaged, two files hold different
            tensors of one name, there is an adapter, or weights are integers or 8-bit floats.
    """
    check_no_adapter(folder)
    found = stored(weight_files(folder), same_twice=True)
    check_dtypes(found)
    return found


def check_dtypes(found: Mapping[str, Stored]) -> None:
    """Raise FewbitsError for a weight that is of no float dtype. Counters, indices and masks are no weights."""
    for name, one in found.items():
        if one.kind not in FLOATS and (one.kind.startswith(_NEVER_FLOATS) or name.rpartition(".")[2] in _WEIGHTS):
            raise FewbitsError(
                f"{one.path}: tensor {shown(name)} is {one.kind}, a quantized weight, but config.json has no"
                " quantization_config: start from the original model"
            )


def check_floats(called: str, model: "nn.Module", found: Mapping[str, Stored]) -> None:
    """Raise FewbitsError if a float of the model is filled from a tensor of another dtype, which drops its scales."""
    tensors = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
    floats = {name for name, tensor in tensors if tensor.is_floating_point()}
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    for name, one in found.items():
        if one.kind not in FLOATS and floats & {name, prefix + name, name.removeprefix(prefix)}:
            raise FewbitsError(
                f"{called}: tensor {shown(name)} is stored as {one.kind}, but the model's is a float: start from the original model"
            )


def check_no_adapter(folder: Path) -> None:
    """Raise FewbitsError for a folder with an adapter, which would be left out or be loaded in half."""
    try:
        found = [name for name in ADAPTERS if (folder / name).exists()]
    except OSError as error:  # no permission to look into the folder
        raise FewbitsError(f"{folder}: cannot be read: {reason(error)}") from None
    if found:
        raise FewbitsError(
            f"{folder / found[0]}: is an adapter: merge it into its base model first (peft: merge_and_unload, save_pretrained),"
            " or move it elsewhere to use the model without it"
        )


def check_leftovers(called: str, unused: Iterable[str]) -> None:
    """Raise FewbitsError if tensors that a float model has no place for belong to a quantized one, or to an adapter."""
    for name in unused:
        if any(part.startswith(_OF_ADAPTERS) for part in name.split(".")):
            raise FewbitsError(
                f"{called}: its weights hold {shown(name)} of an adapter, which would be left out: merge it into its base model"
                " first (peft: merge_and_unload, save_pretrained)"
            )
        if name.rpartition(".")[2] in _OF_QUANTIZED:
            raise FewbitsError(
                f"{called}: its weights hold {shown(name)} of a quantized model, but config.json has no quantization_config:"
                " start from the original model"
            )


def bound_of(folder: Path) -> Bound:
    """What a model of a folder can be, by its weight files; a wide bound if they are not there or not whole."""
    try:
        found = check_weights(folder)
    except FewbitsError:
        return UNSEEN
    return Bound.of_files(len(found), sum(path.stat().st_size for path in {tensor.path for tensor in found.values()}))


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
