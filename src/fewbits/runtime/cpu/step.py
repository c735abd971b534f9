"""A whole step of a recognised model in one call of the library: products, attention and what stands between them.

The structures below are those of native/step.h; they point into tensors, which a NativeStep therefore holds.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewbits.layers import QuantizedLinear
from fewbits.runtime.cpu import library
from fewbits.runtime.cpu.linear import exactly, packed
from fewbits.runtime.structure import Block, Structure


class _Linear(ctypes.Structure):
    _fields_ = (("weight", ctypes.c_void_p), ("bias", ctypes.c_void_p))


class _Norm(ctypes.Structure):
    _fields_ = (("weight", ctypes.c_void_p), ("bias", ctypes.c_void_p))


class _Layer(ctypes.Structure):
    _fields_ = (
        ("before_attention", _Norm),
        ("before_mlp", _Norm),
        ("qkv", _Linear * 3),
        *((name, _Linear) for name in ("out", "gate", "up", "down")),
        ("keys", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
    )


class _Decoder(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("layers", "cos", "sin")),
        ("norm", _Norm),
        ("head", _Linear),
        ("length", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("count", "hidden", "inner", "heads", "kv_heads", "head_dim")),
        *((name, ctypes.c_int32) for name in ("layer_norm", "merged", "activation")),
        ("eps", ctypes.c_float),
        ("scaling", ctypes.c_float),
    )


class NoKernel(Exception):
    """A part of the model is not of a kind that the library computes."""


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Keys and values of one layer, of every token up to the longest sequence."""

    keys: Float[Tensor, "kv_heads length head"]
    values: Float[Tensor, "kv_heads length head"]


@dataclass(kw_only=True, eq=False)
class NativeStep:
    """`step(x, at)` with the embedding of token number `at`. Raises NoKernel where a layer has no kernel.

    What it gives are logits, or, where the head is not quantized, the hidden state that the head takes.
    """

    structure: Structure
    caches: Sequence[Cache]
    turns: tuple[Float[Tensor, "length head"], Float[Tensor, "length head"]] | None
    _held: list[object] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if not library.available():
            raise NoKernel("the library is not there")
        s, self._step = self.structure, _step()
        self.head_is_in = _has_kernel(s.head)
        layers = (_Layer * len(s.blocks))(*map(self._layer, s.blocks, self.caches))
        cos, sin = self.turns or (None, None)
        first = s.blocks[0]
        self._decoder = _Decoder(
            layers=ctypes.addressof(layers),
            cos=self._floats(cos),
            sin=self._floats(sin),
            norm=self._norm(s.norm),
            head=self._linear(s.head) if self.head_is_in else _Linear(),
            length=self.caches[0].keys.shape[1],
            count=len(s.blocks),
            hidden=s.hidden,
            inner=first.up.count,
            heads=s.heads,
            kv_heads=s.kv_heads,
            head_dim=s.head_dim,
            layer_norm=s.layer_norm,
            merged=_is_merged(first),
            activation=s.activation,
            eps=s.eps,
            scaling=first.scaling,
        )
        self._held.append(layers)
        self._address = ctypes.addressof(self._decoder)
        self._width = s.vocabulary if self.head_is_in else s.hidden

    def __call__(self, x: Float[Tensor, "1 hidden"], at: int) -> Float[Tensor, "1 width"]:
        """Raises MemoryError."""
        x = x.clone(memory_format=torch.contiguous_format)  # the library changes it
        out = torch.empty(1, self._width)
        if self._step(self._address, x.data_ptr(), out.data_ptr(), at, torch.get_num_threads(), exactly()):
            raise MemoryError("no memory for a step")
        return out

    def _layer(self, block: Block, cache: Cache) -> _Layer:
        qkv = [self._linear(rows.layer) for rows in block.qkv]
        gate = _Linear() if block.gate is None or _is_merged(block) else self._linear(block.gate.layer)
        return _Layer(
            before_attention=self._norm(block.norm1),
            before_mlp=self._norm(block.norm2),
            qkv=(_Linear * 3)(*qkv),
            out=self._linear(block.out.layer),
            gate=gate,
            up=self._linear(block.up.layer),
            down=self._linear(block.down.layer),
            keys=self._floats(cache.keys),
            values=self._floats(cache.values),
        )

    def _linear(self, layer: nn.Module) -> _Linear:
        pack = packed(layer) if _has_kernel(layer) and isinstance(layer, QuantizedLinear) else None
        if pack is None:
            raise NoKernel(type(layer).__name__)
        self._held.append(pack)
        return _Linear(weight=pack.address, bias=self._floats(getattr(layer, "bias", None)))

    def _norm(self, norm: nn.Module) -> _Norm:
        bias = getattr(norm, "bias", None)
        return _Norm(weight=self._floats(norm.get_parameter("weight")), bias=self._floats(bias))

    def _floats(self, tensor: Tensor | None) -> int | None:
        """The address of a tensor, which is held from now on."""
        if tensor is None:
            return None
        if tensor.dtype != torch.float32 or not tensor.is_cpu or not tensor.is_contiguous():
            raise NoKernel(f"{tensor.dtype} on {tensor.device}")
        self._held.append(tensor)
        return tensor.data_ptr()


def _has_kernel(layer: nn.Module) -> bool:
    return isinstance(layer, QuantizedLinear) and layer.scheme.format.activation_bits is None and packed(layer) is not None


def _is_merged(block: Block) -> bool:
    """Whether one layer gives gate and up."""
    return block.gate is not None and block.gate.layer is block.up.layer


@cache
def _step() -> Any:
    pointer, integer = ctypes.c_void_p, ctypes.c_int32
    sizes = {"fewbits_decoder_size": _Decoder, "fewbits_layer_size": _Layer}
    return library.entry("fewbits_step", pointer, pointer, pointer, ctypes.c_int64, integer, integer, sizes=sizes)
