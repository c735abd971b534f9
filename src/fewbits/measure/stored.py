"""What a model stores: every tensor of its state dict, each piece of memory once, with the role that it has.

Nothing is read but shapes, dtypes and which memory is shared, so a model on the meta device answers as well as a real one.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from fewbits.layers import QuantizedLayer
from fewbits.measure import foreign
from fewbits.pieces import pieces

Role = Literal["codes", "meta", "kept"]


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One stored tensor. `dtype` is what its bits mean: `uint4` for packed codes, `float16` for scales held as int16."""

    name: str
    part: str
    role: Role
    dtype: str
    nbytes: int
    numel: int
    is_parameter: bool


def stored_tensors(model: nn.Module) -> list[Stored]:
    """The tensors of the state dict; of those that share memory, only the first that covers it."""
    modules = dict(model.named_modules(remove_duplicate=False))
    found = [(name, t) for name, value in model.state_dict(keep_vars=True).items() for t in plain_tensors(value)]
    once = _once(found)
    codes = _foreign_codes(modules, once)
    return [_describe(modules, name, tensor, is_codes=i in codes) for i, (name, tensor) in enumerate(once)]


def plain_tensors(value: object) -> Iterator[Tensor]:
    """The tensors that hold a tensor's bytes: several for other libraries' wrapper classes, none for what is no tensor."""
    if isinstance(value, Tensor) and is_traceable_wrapper_subclass(value):
        for inner in value.__tensor_flatten__()[0]:
            yield from plain_tensors(getattr(value, inner))
    elif isinstance(value, Tensor):
        yield value


def layer_types(model: nn.Module) -> dict[str, int]:
    """How many modules of each class hold tensors of their own, the most frequent first; tied layers count as layers."""
    modules = dict(model.named_modules(remove_duplicate=False))
    names = {_owner(modules, name) for name in model.state_dict(keep_vars=True)}
    names |= {name for name, module in modules.items() if isinstance(module, QuantizedLayer)}
    unique = {id(modules[name]): modules[name] for name in sorted(names)}
    return dict(Counter(type(module).__name__ for module in unique.values()).most_common())


def part_of(name: str) -> str:
    """The part of the model that a module belongs to, as a glob: `model.layers.*.self_attn` for every block's attention."""
    pieces = name.split(".")
    number = next((i for i, piece in enumerate(pieces) if piece.isdigit()), None)
    if number is None:
        return name
    return ".".join([*pieces[:number], "*", *pieces[number + 1 : number + 2]])


def _once(found: list[tuple[str, Tensor]]) -> list[tuple[str, Tensor]]:
    """Leave out what lies within a tensor that is counted already; the larger is asked first, the first name wins a tie."""
    order = sorted(range(len(found)), key=lambda i: -_extent(found[i][1]))
    counted: dict[int, list[Tensor]] = {}
    keep = []
    for i in order:
        tensor = found[i][1]
        others = counted.setdefault(tensor.untyped_storage()._cdata, [])
        if not any(_covers(other, tensor) for other in others):
            others.append(tensor)
            keep.append(i)
    return [found[i] for i in sorted(keep)]


def _covers(other: Tensor, tensor: Tensor) -> bool:
    """Whether every byte of a tensor in the same storage is among the other's."""
    if _extent(other) == other.nbytes:  # dense: it fills all of its extent
        start, at = other.storage_offset() * other.element_size(), tensor.storage_offset() * tensor.element_size()
        return start <= at and at + _extent(tensor) <= start + other.nbytes
    return _view(other) == _view(tensor)


def _view(tensor: Tensor) -> tuple[object, ...]:
    return tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype


def _extent(tensor: Tensor) -> int:
    """Bytes from a tensor's first element to the end of its last."""
    if tensor.numel() == 0:
        return 0
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return (last + 1) * tensor.element_size()


def _owner(modules: dict[str, nn.Module], name: str) -> str:
    """The innermost module that holds the tensor of this name."""
    owner = name.rpartition(".")[0]
    while owner not in modules:
        owner = owner.rpartition(".")[0]
    return owner


def _foreign_codes(modules: dict[str, nn.Module], found: list[tuple[str, Tensor]]) -> set[int]:
    """Which tensors are the codes of layers that other libraries quantized: the largest of each."""
    largest: dict[str, int] = {}
    for i, (name, tensor) in enumerate(found):
        owner = _owner(modules, name)
        if foreign.is_foreign(modules[owner]) and tensor.nbytes > (found[largest[owner]][1].nbytes if owner in largest else -1):
            largest[owner] = i
    return set(largest.values())


def _describe(modules: dict[str, nn.Module], name: str, tensor: Tensor, *, is_codes: bool = False) -> Stored:
    owner = _owner(modules, name)
    own = name[len(owner) :].lstrip(".")
    role, dtype = _role(modules[owner], own, tensor)
    theirs = foreign.is_foreign(modules[owner]) and own != "bias"
    if theirs:
        role = "codes" if is_codes else "meta"
    return Stored(
        name=name,
        part=part_of(owner or own),
        role=role,
        dtype=dtype,
        nbytes=tensor.nbytes,
        numel=tensor.numel(),
        is_parameter=not theirs
        and (isinstance(tensor, nn.Parameter) or (own == "bias" and foreign.is_foreign(modules[owner]))),
    )


def _role(module: nn.Module, own: str, tensor: Tensor) -> tuple[Role, str]:
    stored = pieces(module.scheme.format, module.shape) if isinstance(module, QuantizedLayer) else {}
    if own in stored:
        return stored[own].role, stored[own].means
    return "kept", str(tensor.dtype).removeprefix("torch.")
