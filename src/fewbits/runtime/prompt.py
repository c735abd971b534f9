"""Reading a prompt on an NVIDIA GPU: a recognised model's layers by few operators, for the fused step to go on from.

Launching a prompt's kernels one after another takes Python longer than the GPU needs to run them: 9 to 10 ms for Llama-3.2-1B's shape
(13 by transformers' own forward), whether of 256 tokens or 2,048. So the second prompt of a length, rounded up, is recorded as a CUDA
graph, and later ones replay it: what stands behind a prompt's end changes nothing before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from fewbits.layers import QuantizedLayer
from fewbits.runtime import gpu
from fewbits.runtime.prepare import prepare
from fewbits.runtime.structure import ACTIVATIONS, Block, Rows, Structure
from fewbits.runtime.weight import KernelWeight

_ROUND = 128  # tokens: lengths are rounded up to a multiple
_LONG = 4096  # tokens from which the GPU has more to do than Python
Turns = tuple[Float[Tensor, "positions dims"], Float[Tensor, "positions dims"]]


@dataclass(frozen=True, kw_only=True)
class Read:
    """What is known after a prompt: the logits of its last token, and the keys (already rotated) and values of all layers."""

    logits: Float[Tensor, "1 vocabulary"]
    keys: Float[Tensor, "layers kv n d"]
    values: Float[Tensor, "layers kv n d"]


class PromptReader:
    """Reads prompts of one sequence. `turns`: cosines and sines by position, where the model has them."""

    def __init__(self, structure: Structure, turns: Turns | None, most: int) -> None:
        self.structure, self.turns = structure, turns
        places = None if structure.positions is None else structure.positions.get_parameter("weight")
        self.most = most if places is None else min(most, places.shape[0])
        self._seen: set[int] = set()  # padded lengths; what is set up at first use cannot be recorded
        self._graphs: dict[int, _Recorded] = {}

    def read(self, ids: Int[Tensor, "1 n"], *, record: bool = True) -> Read:
        """Read a whole prompt, from position 0 on. `record`: whether the second of a length is recorded as a CUDA graph."""
        n = ids.shape[1]
        size = min(self.most, -(-n // _ROUND) * _ROUND)
        if not ids.is_cuda or not record or n > min(_LONG, size):
            return self._end(*self.hidden(ids), n)
        if size in self._seen and size not in self._graphs:
            self._graphs[size] = _Recorded(self, size, ids.device)
        self._seen.add(size)
        padded, recorded = F.pad(ids, (0, size - n)), self._graphs.get(size)
        h, keys, values = self.hidden(padded) if recorded is None else recorded.run(padded)
        return self._end(h, keys, values, n)

    def hidden(self, ids: Int[Tensor, "1 n"]) -> tuple[Tensor, Tensor, Tensor]:
        """What the last layer gives, `[n, hidden]`, and keys and values, `[layers, n, kv, d]`."""
        s, n = self.structure, ids.shape[1]
        h = s.embedding(ids)[0]
        if s.positions is not None:
            h = h + s.positions.get_parameter("weight")[:n].to(h.dtype)
        turns = None if self.turns is None else tuple(t[:n, None].to(h.dtype) for t in self.turns)
        keys, values = (h.new_empty(len(s.blocks), n, s.kv_heads, s.head_dim) for _ in range(2))
        for block, key, value in zip(s.blocks, keys, values, strict=True):
            h = h + self._attend(block, self._normed(block.norm1, h), turns, key, value)
            h = h + self._mlp(block, self._normed(block.norm2, h))
        return h, keys, values

    def _end(self, h: Tensor, keys: Tensor, values: Tensor, n: int) -> Read:
        last = self._normed(self.structure.norm, h[n - 1 : n])
        (logits,) = products((Rows(layer=self.structure.head, first=0, count=self.structure.vocabulary),), last)
        return Read(logits=logits, keys=keys[:, :n].transpose(1, 2), values=values[:, :n].transpose(1, 2))

    def _normed(self, norm: nn.Module, h: Float[Tensor, "n hidden"]) -> Float[Tensor, "n hidden"]:
        weight = norm.get_parameter("weight")
        if self.structure.layer_norm:
            return F.layer_norm(h, weight.shape, weight, getattr(norm, "bias", None), self.structure.eps)
        return F.rms_norm(h, weight.shape, weight, self.structure.eps)

    def _attend(
        self,
        block: Block,
        x: Float[Tensor, "n hidden"],
        turns: tuple[Tensor, ...] | None,
        key: Float[Tensor, "n kv d"],
        value: Float[Tensor, "n kv d"],
    ) -> Float[Tensor, "n hidden"]:
        """Attention of all tokens to those before them; keys and values are left in `key` and `value`."""
        s = self.structure
        parts = products(block.qkv, x)
        if len(parts) == 1:
            parts = parts[0].split([s.heads * s.head_dim, s.kv_heads * s.head_dim, s.kv_heads * s.head_dim], dim=-1)
        query, new_key, new_value = (p.unflatten(-1, (-1, s.head_dim)) for p in parts)
        value.copy_(new_value)
        if turns is None:
            key.copy_(new_key)
        else:
            query = turned(query, turns, torch.empty_like(query, memory_format=torch.contiguous_format))
            turned(new_key, turns, key)
        mixed = F.scaled_dot_product_attention(
            query.transpose(0, 1)[None],
            key.transpose(0, 1)[None],
            value.transpose(0, 1)[None],
            is_causal=True,
            scale=block.scaling,
            enable_gqa=s.heads != s.kv_heads,
        )
        return products((block.out,), mixed[0].transpose(0, 1).flatten(1))[0]

    def _mlp(self, block: Block, x: Float[Tensor, "n hidden"]) -> Float[Tensor, "n hidden"]:
        act = ACTIVATIONS[self.structure.activation]
        if block.gate is None:
            inner = act(products((block.up,), x)[0])
        else:
            gate, up = products((block.gate, block.up), x)
            inner = act(gate).mul_(up)
        return products((block.down,), inner)[0]


class _Recorded:
    """All layers for prompts of a length as a CUDA graph; what it gives stands until it runs again."""

    def __init__(self, reader: PromptReader, size: int, device: torch.device) -> None:
        self.ids = torch.zeros(1, size, dtype=torch.long, device=device)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.found = reader.hidden(self.ids)

    def run(self, ids: Int[Tensor, "1 n"]) -> tuple[Tensor, Tensor, Tensor]:
        self.ids.copy_(ids)
        self.graph.replay()
        return self.found


def turned(
    x: Float[Tensor, "n heads d"], turns: tuple[Tensor, ...], out: Float[Tensor, "n heads d"]
) -> Float[Tensor, "n heads d"]:
    """The rotary embedding of the first dimensions of each head; the others are copied."""
    cos, sin = turns
    dims = cos.shape[-1]
    half = dims // 2
    first, second = x[..., :half], x[..., half:dims]
    torch.mul(first, cos[..., :half], out=out[..., :half]).addcmul_(second, sin[..., :half], value=-1)
    torch.mul(second, cos[..., half:], out=out[..., half:dims]).addcmul_(first, sin[..., half:])
    if dims < x.shape[-1]:
        out[..., dims:] = x[..., dims:]
    return out


def products(parts: tuple[Rows, ...], x: Float[Tensor, "n inputs"]) -> list[Tensor]:
    """X times the weights of some outputs of one or several layers, with their biases: `[n, count]` of each part."""
    layers = list(dict.fromkeys(part.layer for part in parts))
    weights = [_weight(layer) for layer in layers]
    known = [w for w in weights if w is not None]
    if len(known) == len(layers):
        made = gpu.products(known, x, [layer.bias for layer in layers])  # pyright: ignore[reportArgumentType]
    else:
        made = [layer(x) for layer in layers]
    of = dict(zip(layers, made, strict=True))
    return [of[p.layer][:, p.first : p.first + p.count] for p in parts]


def _weight(layer: nn.Module) -> KernelWeight | None:
    return prepare(layer) if isinstance(layer, QuantizedLayer) else None
