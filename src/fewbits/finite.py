"""Whether all numbers of a model are finite, before anything is changed: of its quantized layers, and of all that is kept."""

from collections.abc import Collection, Iterator, Mapping

import torch
from torch import Tensor, nn

from fewbits.errors import FewbitsError
from fewbits.methods._checks import FLOATS, check_finite


def check_finite_model(model: nn.Module, quantized: Mapping[str, Tensor], skipped: Collection[str] = ()) -> None:
    """Check every parameter and every buffer that is saved; `quantized` are the weights to quantize, by their layers.

    Layers that the user `skipped` by name are not looked at. A buffer may hold -inf, as attention masks do. A GPU is waited for
    once. Raises FewbitsError that names the first layer or
    tensor which is on the meta device, or has values that are NaN or infinite.
    """
    weights = {id(weight) for weight in quantized.values()}
    tensors = [*quantized.values(), *(t for t in model.parameters() if id(t) not in weights)]
    fine = _fine_on_gpu(tensors)
    for name, weight in quantized.items():
        if id(weight) not in fine:
            _check_weight(f"layer {name or '(the model itself)'}", weight)
    for name, tensor in model.named_parameters():
        if id(tensor) not in weights and id(tensor) not in fine and name.rpartition(".")[0] not in skipped:
            _check_kept(f"tensor {name}", tensor)
    for name, buffer in _saved_buffers(model):
        if not buffer.is_meta and buffer.dtype in FLOATS and buffer.numel():
            _check_kept(f"tensor {name}", buffer.clamp(min=0))  # NaN passes through it


def _fine_on_gpu(tensors: list[Tensor]) -> set[int]:
    """Those on a GPU, if all of them are finite."""
    there = [t.detach() for t in tensors if t.is_cuda and t.numel() and t.dtype in FLOATS]
    most = nn.utils.get_total_norm(there, float("inf"))  # some launches for all; NaN passes through it
    return {id(t) for t in tensors if t.is_cuda and t.numel() and t.dtype in FLOATS} if most.isfinite() else set()


def _check_weight(what: str, weight: Tensor) -> None:
    if weight.is_meta:
        raise FewbitsError(f"{what}: its weights are not loaded (meta device): load the whole model first")
    try:
        check_finite(weight)
    except FewbitsError as error:
        raise FewbitsError(f"{what}: {error}") from None


def _check_kept(what: str, tensor: Tensor) -> None:
    if tensor.is_meta:
        raise FewbitsError(f"{what}: is not loaded (meta device): load the whole model first")
    if not tensor.numel() or tensor.dtype not in FLOATS:
        return
    try:
        check_finite(tensor)
    except FewbitsError:
        bad = tensor.numel() - int(torch.isfinite(tensor.detach()).sum())
        raise FewbitsError(f"{what}: {bad} of its {tensor.numel():,} values are NaN or infinite: mend the checkpoint") from None


def _saved_buffers(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for prefix, module in model.named_modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name not in module._non_persistent_buffers_set:
                yield f"{prefix}.{name}" if prefix else name, buffer
