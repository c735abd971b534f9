"""Sizes in bytes, counted from the tensors themselves: what a model stores, what it holds in memory, what a plan would leave.

`size` is what a saved model's tensors take, `file_size` what its files take (with their headers), `resident` what is in memory.
"""

import copy
from collections import Counter
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewbits.apply import rebuild, resolve
from fewbits.errors import FewbitsError
from fewbits.layers import QuantizedLayer
from fewbits.measure import foreign
from fewbits.measure.result import Measure
from fewbits.measure.stored import Stored, layer_types, plain_tensors, stored_tensors
from fewbits.plan import Plan, PlanLike
from fewbits.runtime import cpu
from fewbits.shards import INDEX, SINGLE, shards_of

_ENDINGS = (".safetensors", ".bin", ".gguf", ".pt", ".pth", ".onnx")  # of weight files, the first that is found counts


def size(model: nn.Module) -> Measure:
    """Bytes of the tensors that a model stores (its state dict), shared memory once. The model may be on the meta device.

    Parts: bytes of `codes`, `meta` (scales and zero points) and `kept`; `by_dtype` and `by_part` in bytes; `layers` counts
    modules by class; `parameters`, and of them `quantized`; `bits_per_weight` of the quantized layers (codes and meta over
    their weights) and `bits_per_weight_of_model` (8 * size over all parameters; buffers are in the size, not in the count).
    """
    tensors = stored_tensors(model)
    return _measure(tensors, model, "tensors of the state dict, shared ones once")


def planned_size(model: nn.Module, plan: PlanLike) -> Measure:
    """What `size` will say once the plan is applied. Reads shapes only; the model, best on the meta device, is left alone.

    A plan that has met this model (`apply.resolve`) is taken at its word. Raises FewbitsError where the plan does not fit the
    model, as quantizing would.
    """
    met = plan if isinstance(plan, Plan) and plan.decisions else resolve(model, Plan.of(plan))
    bare = rebuild(skeleton(model), met)
    return _measure(stored_tensors(bare), bare, "planned from shapes: tensors of the state dict, shared ones once")


def resident(model: nn.Module) -> Measure:
    """Bytes in memory now: the storages of all parameters and buffers, those that are not saved too, each once; and weights
    that were rearranged for the CPU kernels, which lie beside the stored ones. Parts: `by_device`, `packed`.

    A model on the meta device holds nothing; its figure is what it would hold.
    """
    storages = {}
    for value in [*model.parameters(), *model.buffers()]:
        for tensor in plain_tensors(value):
            storages[tensor.untyped_storage()._cdata] = (str(tensor.device), tensor.untyped_storage().nbytes())
    packed = cpu.packed_bytes(model)
    parts = {"by_device": _sums([*storages.values(), *([("cpu", packed)] if packed else [])]), "packed": packed}
    total = packed + sum(nbytes for _, nbytes in storages.values())
    how = "storages of parameters and buffers, each once, and weights rearranged for the CPU kernels"
    return Measure(name="resident", value=total, unit="B", protocol=how, parts=parts)


def file_size(folder: str | Path) -> Measure:
    """Bytes of the weight files of a saved model: a folder, or one file. Where a model lies there twice, safetensors count.

    Raises FewbitsError for a path that is not there, a folder without weight files, or a shard that is missing.
    """
    folder = Path(folder)
    files = [folder] if folder.is_file() else _weight_files(folder)
    sizes = {file.name: file.stat().st_size for file in files}
    return Measure(name="file_size", value=sum(sizes.values()), unit="B", protocol="weight files", parts={"files": sizes})


def skeleton(model: nn.Module) -> nn.Module:
    """A copy of a model on the meta device, which shares memory among its tensors as the model does; takes no memory."""
    storages: dict[int, torch.UntypedStorage] = {}
    memo: dict[int, Any] = {}
    for tensor in [*model.parameters(), *model.buffers()]:
        if type(tensor) in (Tensor, nn.Parameter):  # other classes copy themselves
            memo[id(tensor)] = _on_meta(tensor, storages)
    return copy.deepcopy(model, memo)


def _on_meta(tensor: Tensor, storages: dict[int, torch.UntypedStorage]) -> Tensor:
    storage = tensor.untyped_storage()
    if storage._cdata not in storages:
        storages[storage._cdata] = torch.empty(storage.nbytes(), dtype=torch.uint8, device="meta").untyped_storage()
    bare = torch.empty(0, dtype=tensor.dtype, device="meta")
    bare.set_(storages[storage._cdata], tensor.storage_offset(), tensor.shape, tensor.stride())
    return nn.Parameter(bare, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else bare


def _measure(tensors: list[Stored], model: nn.Module, protocol: str) -> Measure:
    total = sum(t.nbytes for t in tensors)
    roles = _sums((t.role, t.nbytes) for t in tensors)
    quantized = sum(prod(m.shape) for m in model.modules() if isinstance(m, QuantizedLayer) and not m.tied)
    quantized += foreign.weights_of(model)
    parameters = quantized + sum(t.numel for t in tensors if t.is_parameter)
    packed = roles.get("codes", 0) + roles.get("meta", 0)
    parts = {
        "codes": roles.get("codes", 0),
        "meta": roles.get("meta", 0),
        "kept": roles.get("kept", 0),
        "by_dtype": _sums((t.dtype, t.nbytes) for t in tensors),
        "by_part": _sums((t.part, t.nbytes) for t in tensors),
        "layers": layer_types(model),
        "parameters": parameters,
        "quantized": quantized,
        "bits_per_weight": 8 * packed / quantized if quantized else None,
        "bits_per_weight_of_model": 8 * total / parameters if parameters else None,
    }
    return Measure(name="size", value=total, unit="B", protocol=protocol, parts=parts)


def _sums(items: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Bytes by key, the largest first."""
    sums: Counter[str] = Counter()
    for key, nbytes in items:
        sums[key] += nbytes
    return dict(sums.most_common())


def _weight_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FewbitsError(f"{folder}: no such folder or file")
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if (folder / INDEX).exists():
        return shards_of(folder)
    for ending in _ENDINGS:
        if found := sorted(folder.glob(f"*{ending}")):
            return found
    raise FewbitsError(f"{folder}: holds no weight file ({', '.join(_ENDINGS)})")
