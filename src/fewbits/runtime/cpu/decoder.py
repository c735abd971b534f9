"""One sequence on the CPU: a recognised model's step over a cache that stays where it is.

Where all layers have kernels it is one call of the library (step.py); else a few of PyTorch's operators a layer, which add
some 7 ms to the 33 ms that a step of Llama-3.2-1B's shape takes at 4 bits with two threads; transformers' own step adds more.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from fewbits.errors import FewbitsError
from fewbits.layers import QuantizedLinear
from fewbits.runtime import fused, verify
from fewbits.runtime.cache import cache_of
from fewbits.runtime.cpu.linear import exact_activations, exactly, linear
from fewbits.runtime.cpu.step import Cache, NativeStep, NoKernel
from fewbits.runtime.cpu.switch import running
from fewbits.runtime.decode import refuse_nan
from fewbits.runtime.known import failed
from fewbits.runtime.sampling import Sampling
from fewbits.runtime.structure import ACTIVATIONS, Block, Structure, UnknownStructure, check_length, longest
from fewbits.runtime.vocabulary import check_ids


class CpuDecoder:
    """The prompt goes through the model itself, whose keys and values are taken over; then steps of its structure.

    Raises UnknownStructure for a model that is not recognised, not in float32, or whose own forward gives other logits.
    """

    def __init__(self, model: Any, sampling: Sampling, length: int) -> None:
        memory, structure = fused.known(model)
        if any(p.dtype != torch.float32 or not p.is_cpu for p in model.parameters()):
            raise UnknownStructure(f"its arithmetic is {model.dtype} on the {model.device.type}")
        check_length(structure, model.config, length)
        fused.check(model, memory, ("cpu", running()), lambda: differs(model, structure))
        self.model, self.sampling = model, sampling
        try:
            self.step = CpuStep(structure, model.config, length)
        except (UnknownStructure, MemoryError):
            raise
        except Exception as error:
            raise failed("its step cannot be made", error) from error

    def tokens(self, ids: Int[Tensor, "batch n"], mask: Tensor | None, count: int) -> Iterator[Int[Tensor, "batch steps"]]:
        """One step at a time."""
        check_ids(ids, self.model)
        generator = torch.Generator().manual_seed(self.sampling.seed)
        with torch.inference_mode():
            out = self.model(input_ids=ids, use_cache=True, logits_to_keep=1)
            self.step.load_cache(cached(out))
            logits = out.logits[:, -1]
        refuse_nan(self.model, logits)
        for at in range(ids.shape[1], ids.shape[1] + count):
            token = self.sampling.choose(logits, generator)[:, None]
            yield token
            if at + 1 < ids.shape[1] + count:
                with torch.inference_mode():
                    logits = self.step(token[0], at)


class CpuStep:
    """A model's step for one token: `step(token, at)` gives the logits that follow token number `at`."""

    def __init__(self, structure: Structure, config: Any, length: int) -> None:
        check_length(structure, config, length)
        s, self.length = structure, length
        self.structure = structure
        shape = s.kv_heads, length, s.head_dim
        self.caches = [Cache(keys=torch.zeros(shape), values=torch.zeros(shape)) for _ in s.blocks]
        self.layers = [_Layer(block, s) for block in s.blocks]
        self.norm, self.head = _norm(s.norm, s), _product(s.head)
        self.turns = _turns(s, length)
        self.native = self._native()

    def load_cache(self, cache: list[tuple[Tensor, Tensor]]) -> None:
        """Take over what transformers' cache has of one sequence."""
        for mine, (keys, values) in zip(self.caches, cache, strict=True):
            kv_heads, length, head_dim = mine.keys.shape
            n = keys.shape[2]
            if n > length or not keys.shape == values.shape == (1, kv_heads, n, head_dim):
                raise FewbitsError(
                    f"the cache of a prompt is {tuple(keys.shape)}, not 1, {kv_heads}, at most {length}, {head_dim}"
                )
            mine.keys[:, : keys.shape[2]], mine.values[:, : keys.shape[2]] = keys[0], values[0]

    def __call__(self, token: Int[Tensor, "1"], at: int) -> Float[Tensor, "1 vocabulary"]:
        """Read one token, and remember it. Raises FewbitsError past the length that the cache was made for."""
        s = self.structure
        if not 0 <= at < self.length:
            raise FewbitsError(f"token {at} of a sequence of {self.length}")
        h = s.embedding(token)
        if s.positions is not None:
            h = h + s.positions(torch.tensor([at]))
        if self.native is not None and running():
            out = self.native(h, at)
            return out if self.native.head_is_in else self.head(out)
        turn = None if self.turns is None else (self.turns[0][at], self.turns[1][at])
        for layer, cache in zip(self.layers, self.caches, strict=True):
            h = layer(h, cache, turn, at)
        return self.head(self.norm(h))

    def _native(self) -> NativeStep | None:
        try:
            return NativeStep(structure=self.structure, caches=self.caches, turns=self.turns)
        except NoKernel:
            return None


class _Layer:
    """One block of the transformer."""

    def __init__(self, block: Block, s: Structure) -> None:
        self.norm1, self.norm2 = _norm(block.norm1, s), _norm(block.norm2, s)
        self.qkv = [_product(rows.layer) for rows in block.qkv]
        self.out, self.down = _product(block.out.layer), _product(block.down.layer)
        merged = block.gate is not None and block.gate.layer is block.up.layer
        self.gate = None if block.gate is None or merged else _product(block.gate.layer)
        self.up, self.merged, self.scaling = _product(block.up.layer), merged, block.scaling
        self.activation = ACTIVATIONS[s.activation]
        self.heads, self.kv_heads, self.head_dim = s.heads, s.kv_heads, s.head_dim

    def __call__(self, h: Tensor, cache: Cache, turn: tuple[Tensor, Tensor] | None, at: int) -> Tensor:
        h = h + self.out(self._attend(self.norm1(h), cache, turn, at))
        x = self.norm2(h)
        if self.merged:
            gate, up = self.up(x).chunk(2, dim=-1)
            return h + self.down(self.activation(gate) * up)
        inner = self.up(x) if self.gate is None else self.gate(x)
        inner = self.activation(inner) if self.gate is None else self.activation(inner).mul_(self.up(x))
        return h + self.down(inner)

    def _attend(self, x: Tensor, cache: Cache, turn: tuple[Tensor, Tensor] | None, at: int) -> Tensor:
        parts = [project(x) for project in self.qkv]
        all_heads = (parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)).view(-1, self.head_dim)
        turned, values = all_heads[: self.heads + self.kv_heads], all_heads[self.heads + self.kv_heads :]
        if turn is not None:
            turned = (turned * turn[0]).addcmul_(turned.roll(self.head_dim // 2, -1), turn[1])
        cache.keys[:, at], cache.values[:, at] = turned[self.heads :], values
        queries = turned[: self.heads].view(self.kv_heads, -1, self.head_dim)
        keys, values = cache.keys[:, : at + 1], cache.values[:, : at + 1]
        scores = torch.baddbmm(queries.new_zeros(1, 1, 1), queries, keys.mT, beta=0, alpha=self.scaling)
        return torch.bmm(scores.softmax(-1), values).view(1, -1)


def cached(out: Any) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of all layers in what a model's forward returned."""
    return [(layer.keys, layer.values) for layer in cache_of(out).layers]


def differs(model: Any, structure: Structure) -> str | None:
    """Why the step is not used, in words; None if its logits are those of the model's own forward.

    An activation between two codes of 8 bits may fall to either side; only then both are computed again by exact activations,
    which takes five times as long.
    """
    why = _compared(model, structure)
    if why is None or exactly():
        return why
    with exact_activations():
        return _compared(model, structure)


def _compared(model: Any, structure: Structure) -> str | None:
    ids = verify.probe(structure.vocabulary, longest(structure, model.config), torch.device("cpu"))
    n, count = verify.prompt_length(ids), ids.shape[1]
    with torch.inference_mode():
        out = model(input_ids=ids, use_cache=True, logits_to_keep=count - n)
        step = CpuStep(structure, model.config, count)
        step.load_cache([(keys[:, :, :n], values[:, :, :n]) for keys, values in cached(out)])
        steps = [step(ids[0, at : at + 1], at) for at in range(n, count)]
        return verify.verdict(model, out.logits[0], torch.cat(steps))


def _turns(s: Structure, length: int) -> tuple[Tensor, Tensor] | None:
    """Cosines and sines of every position; the first half of the sines is negative: that half takes minus the other."""
    if s.rotary is None:
        return None
    with torch.inference_mode():
        cos, sin = s.rotary(torch.zeros(1, 1, s.hidden), torch.arange(length)[None])
    if cos.shape[-1] != s.head_dim:
        raise UnknownStructure("only a part of each head is turned")
    if cos.shape != (1, length, s.head_dim) or sin.shape != cos.shape:
        raise UnknownStructure(f"its rotary embedding has {tuple(cos.shape)}, not {length} positions of {s.head_dim}")
    sign = torch.ones(s.head_dim)
    sign[: s.head_dim // 2] = -1
    return cos[0].float(), sin[0].float() * sign


def _norm(norm: nn.Module, s: Structure) -> Callable[[Tensor], Tensor]:
    if s.layer_norm:
        return norm
    return partial(_rms_norm, scale=norm.get_parameter("weight").detach() * s.hidden**0.5, least=s.eps * s.hidden)


def _rms_norm(x: Tensor, scale: Tensor, least: float) -> Tensor:
    """A row x / sqrt(mean x**2 + eps) * weight, in three operators."""
    row = x[0]
    return x * (scale * (torch.dot(row, row).item() + least) ** -0.5)


def _product(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    """The kernel itself, past nn.Module's call, which takes as long as a small product; the layer where it has none."""
    if not isinstance(layer, QuantizedLinear) or layer.scheme.format.activation_bits is not None:
        return layer
    return partial(_multiplied, layer)


def _multiplied(layer: QuantizedLinear, x: Tensor) -> Tensor:
    out = linear(layer, x) if running() else None
    return layer(x) if out is None else out


def decoder(model: Any, sampling: Sampling, length: int) -> CpuDecoder | None:
    """A decoder for sequences of up to `length` tokens, or None for a model that it cannot take."""
    try:
        return CpuDecoder(model, sampling, length)
    except (UnknownStructure, MemoryError, RuntimeError):  # not an error: the model's own step serves
        return None


def why_not(model: Any) -> str | None:
    """Why this decoder cannot take a model, in words; None if it can."""
    try:
        CpuDecoder(model, Sampling(), 1)
    except UnknownStructure as reason:
        return str(reason)
    return None
