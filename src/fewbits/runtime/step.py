"""The driver of the fused decode step (cuda/step.cu): phases of a recognised model, its cache, and launches."""

import ctypes
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewbits.layers import QuantizedEmbedding, QuantizedLayer
from fewbits.runtime import nvrtc
from fewbits.runtime.gemv import book_words
from fewbits.runtime.prepare import prepare
from fewbits.runtime.structure import Rows, Structure, UnknownStructure
from fewbits.runtime.weight import KernelWeight

QKV, ATTEND, OUT, GATED, PLAIN, DOWN, HEAD = range(7)
SLOT = 18_432  # bytes of a ring slot: 32 tiles of 4 bits with their scales, 16 of 8 bits, 16 KiB of plain rows
RAW, WARPS, BATCH, NORMED = 16, 16, 8, 4
SMALL = 24_576  # bytes kept for struct Shared
_KIND_BITS = {4: 1, 8: 2, 3: 4, 2: 8, 104: 16, RAW: 32}
SOURCES = (
    "tile",
    "step_base",
    "step_exchange",
    "step_ring",
    "step_embedding",
    "step_inputs",
    "step_products",
    "step_finish",
    "step_attention",
)
PROFILE = 0  # 1: the kernel notes its clock at some points of each phase
MOST_PHASES = 65_000  # of a launch: words that blocks exchange carry the phase's number in 16 bits
_P, _I = ctypes.c_void_p, ctypes.c_int


class _Seg(ctypes.Structure):
    _fields_ = (("w", _P), ("meta", _P), *((n, _I) for n in ("tiles", "rows", "kind", "m", "chunk", "unused")))


class _Phase(ctypes.Structure):
    _fields_ = (
        *((n, _I) for n in ("type", "kb", "k", "kind", "m", "rows", "layer", "parts")),
        ("unused", _I * 3),
        ("inv_k", ctypes.c_float),
        ("norm", _P),
        *((n, _I) for n in ("biased", "raw")),
        ("seg", _Seg * 3),
        ("bias", _P),
        ("up_bias", _P),
        *((n, _I) for n in ("units", "segs")),
    )


class _Args(ctypes.Structure):
    _fields_ = (
        *((n, _P) for n in ("h", "qkv", "act", "parts", "part_sums", "best", "keys", "values", "cos", "sin")),
        *((n, _P) for n in ("embed", "embed_meta", "positions", "tokens", "logits", "phase_list", "profile")),
        *((n, _I) for n in ("phases", "slots", "steps", "pos")),
        *((n, _I) for n in ("hidden", "heads", "kv_heads", "max_len", "splits")),
        *((n, _I) for n in ("embed_kind", "embed_m", "rep_inverse", "rope_dim")),
        *((n, ctypes.c_float) for n in ("eps", "attn_scale", "inv_temperature")),
        *((n, ctypes.c_uint32) for n in ("seed", "ring_bytes", "x_bytes", "norm_bytes")),
    )


class StepEngine:
    """Decodes one sequence of a model on the GPU, one launch for any number of tokens.

    Raises UnknownStructure where the model, its formats or its dtype are not what the kernel computes.
    """

    _count: ClassVar[int] = 0

    def __init__(self, structure: Structure, max_len: int) -> None:
        self.structure, self.max_len = structure, max_len
        self._kept: list[Tensor] = []  # what the kernel's pointers point to
        self._book: bytes | None = None
        self.device, self.dtype = _place(structure)
        self._check()
        phases = self._phases()
        self._tensors(phases)
        self._load(phases)

    # ---- use ----
    def decode(self, start: int, steps: int, *, temperature: float = 0.0, seed: int = 0, logits: bool = False) -> None:
        """Read token `start` of `self.tokens`, write `steps` more after it. The cache must hold what is before `start`."""
        args = self._args
        args.inv_temperature = 1 / temperature if temperature > 0 else 0.0
        args.seed = seed & 0xFFFFFFFF
        args.logits = self.logits.data_ptr() if logits else None
        most = MOST_PHASES // args.phases
        for first in range(0, steps, most):
            args.pos, args.steps = start + first, min(most, steps - first)
            self._exchange.zero_()
            self._kernel.launch(self.blocks, 32 * (WARPS + 4), args, shared=self._shared, attributes=(nvrtc.COOPERATIVE,))

    def load_cache(self, layers: Sequence[tuple[Float[Tensor, "1 kv n d"], Float[Tensor, "1 kv n d"]]]) -> None:
        """Take over keys (already rotated) and values of a prompt."""
        for i, (keys, values) in enumerate(layers):
            n = keys.shape[2]
            self.keys[i, :, :n] = keys[0].to(self.dtype)
            self.values[i, :, :n] = values[0].to(self.dtype)

    # ---- making ----
    def _check(self) -> None:
        s = self.structure
        if (why := nvrtc.unavailable()) is not None:
            raise UnknownStructure(why)
        if self.dtype not in (torch.bfloat16, torch.float16):
            raise UnknownStructure(f"activations of {self.dtype}")
        if s.head_dim not in (32, 64, 96, 128) or s.heads % s.kv_heads:
            raise UnknownStructure(f"heads of {s.head_dim}, {s.heads} over {s.kv_heads}")
        if s.hidden > 8192 or s.hidden % 64:
            raise UnknownStructure(f"a width of {s.hidden}")

    def _phases(self) -> list[_Phase]:
        phases: list[_Phase] = []
        s = self.structure
        for layer, block in enumerate(s.blocks):
            q = self._phase(QKV, block.qkv, s.hidden, norm=block.norm1)
            mlp = (block.up,) if block.gate is None else (block.gate, block.up)
            kind = PLAIN if block.gate is None else GATED
            made = [
                q,
                _Phase(type=ATTEND, layer=layer),
                self._phase(OUT, (block.out,), s.heads * s.head_dim),
                self._phase(kind, mlp, s.hidden, norm=block.norm2),
                self._phase(DOWN, (block.down,), block.up.count),
            ]
            phases += made
        whole = Rows(layer=s.head, first=0, count=s.vocabulary)
        phases.append(self._phase(HEAD, (whole,), s.hidden, norm=s.norm))
        if len(phases) > 304:
            raise UnknownStructure("more than 60 layers")
        return phases

    def _phase(self, kind: int, rows: Sequence[Rows], k: int, norm: nn.Module | None = None) -> _Phase:
        if k % 64:
            raise UnknownStructure(f"{k} inputs are no multiple of 64")
        phase = _Phase(type=kind, k=k, kb=k // 64, inv_k=1 / k, segs=len(rows))
        for i, part in enumerate(rows):
            phase.seg[i] = self._segment(part, k)
        kinds = {(seg.kind, seg.m) for seg in phase.seg[: len(rows)]}
        if len(kinds) > 1:
            raise UnknownStructure("layers that share their inputs are quantized differently")
        phase.kind, phase.m = kinds.pop()
        phase.raw = int(phase.kind == RAW)
        phase.parts = WARPS // phase.seg[0].chunk if phase.raw else WARPS
        if any(part.count % 16 for part in rows[:-1]):
            raise UnknownStructure("merged layers have outputs that are no multiple of 16")
        if kind == GATED:
            phase.units, phase.rows = phase.seg[0].tiles, rows[0].count
            phase.bias, phase.up_bias = self._biases(rows[:1]), self._biases(rows[1:])
        else:
            phase.units, phase.rows = sum(seg.tiles for seg in phase.seg[: len(rows)]), sum(part.count for part in rows)
            phase.bias = self._biases(rows)
        if norm is not None:
            weight, bias = norm.get_parameter("weight"), getattr(norm, "bias", None)
            phase.norm = self._keep(weight.detach() if bias is None else torch.cat([weight.detach(), bias.detach()]))
            phase.biased, self._norm_bytes = int(bias is not None), k * 2 * (1 if bias is None else 2)
        return phase

    def _biases(self, rows: Sequence[Rows]) -> int | None:
        """Of all outputs of a phase, one after another; 0 where a layer has none."""
        found = [getattr(part.layer, "bias", None) for part in rows]
        if all(bias is None for bias in found):
            return None
        parts = [
            torch.zeros(part.count, device=self.device) if bias is None else bias.detach()[part.first : part.first + part.count]
            for bias, part in zip(found, rows, strict=True)
        ]
        return self._keep(torch.cat([p.float() for p in parts]))

    def _segment(self, part: Rows, k: int) -> _Seg:
        seg = _Seg(rows=part.count, tiles=-(-part.count // 16))
        if isinstance(part.layer, QuantizedLayer):
            weight = prepare(part.layer)
            if weight is None:
                raise UnknownStructure(f"no kernel for {part.layer.scheme}")
            return self._tiled(seg, weight, part)
        return self._plain(seg, part, k)

    def _tiled(self, seg: _Seg, weight: KernelWeight, part: Rows) -> _Seg:
        if part.first % 16 or (part.count % 16 and part.first):
            raise UnknownStructure(f"outputs are not parted at multiples of 16: {part.first}, {part.count}")
        at = part.first // 16
        seg.w, seg.meta = weight.words[at].data_ptr(), weight.meta[at].data_ptr()
        seg.kind, seg.m, seg.chunk = weight.kind, weight.group_shift, 16 if weight.bits == 8 else 32
        if weight.book is not None:
            self._set_book(weight)
        return seg

    def _plain(self, seg: _Seg, part: Rows, k: int) -> _Seg:
        weight = part.layer.get_parameter("weight")
        if not isinstance(part.layer, nn.Linear) or weight.dtype != self.dtype or not weight.is_contiguous():
            raise UnknownStructure(f"an unquantized {type(part.layer).__name__} of {weight.dtype}")
        seg.w, seg.meta, seg.kind, seg.m = weight[part.first].data_ptr(), None, RAW, 0
        seg.chunk = next((r for r in (8, 4, 2, 1) if r * k * 2 <= SLOT), 0)
        if not seg.chunk:
            raise UnknownStructure(f"unquantized rows of {k} do not fit")
        return seg

    def _set_book(self, weight: KernelWeight) -> None:
        if weight.book is None:
            return
        words = book_words(weight.book, torch.float16)
        if self._book not in (None, words):
            raise UnknownStructure("more than one codebook")
        self._book = words

    def _tensors(self, phases: list[_Phase]) -> None:
        s, device = self.structure, self.device
        self.blocks = torch.cuda.get_device_properties(device).multi_processor_count
        if s.hidden > 16 * BATCH * self.blocks:
            raise UnknownStructure(f"a width of {s.hidden} on {self.blocks} multiprocessors")
        rep = s.heads // s.kv_heads
        # Query heads that share a pass over keys, and keys that a lane holds: a short context is read again by each head, which
        # spreads it over more blocks.
        self._together, self._ahead = (1, 4) if self.max_len <= 1024 and s.head_dim > 32 else (1 + (rep % 2 == 0), 2)
        splits = max(1, min(16, self.blocks // (s.heads // self._together)))
        widest = max(p.k for p in phases)
        cache = (len(s.blocks), s.kv_heads, self.max_len, s.head_dim)
        self.keys, self.values = (torch.zeros(cache, dtype=self.dtype, device=device) for _ in range(2))
        self.tokens = torch.zeros(self.max_len + 1, dtype=torch.int32, device=device)
        self.logits = torch.empty(s.vocabulary, dtype=torch.float32, device=device)
        qkv, parts = (s.heads + 2 * s.kv_heads) * s.head_dim, s.heads * splits
        sizes = {"h": s.hidden // 2, "qkv": qkv // 2, "act": widest // 2, "parts": parts * s.head_dim // 2}
        exchanged = self._words(sizes | {"part_sums": parts, "best": 4 * self.blocks})
        slots = self._divide_shared(widest)
        cos, sin = self._rotation()
        self._args = _Args(
            **exchanged,
            **self._embedding(),
            keys=self.keys.data_ptr(),
            values=self.values.data_ptr(),
            cos=nvrtc.address(cos),
            sin=nvrtc.address(sin),
            tokens=self.tokens.data_ptr(),
            phases=len(phases),
            slots=slots,
            hidden=s.hidden,
            heads=s.heads,
            kv_heads=s.kv_heads,
            max_len=self.max_len,
            splits=splits,
            rep_inverse=-(-65536 // rep),
            rope_dim=0 if cos is None else cos.shape[-1],
            eps=s.eps,
            attn_scale=s.blocks[0].scaling,
            ring_bytes=slots * SLOT,
            x_bytes=self._x_bytes,
            norm_bytes=self._norm_bytes,
        )
        if any(b.scaling != s.blocks[0].scaling for b in s.blocks):
            raise UnknownStructure("attention is scaled differently from layer to layer")

    def _words(self, sizes: dict[str, int]) -> dict[str, int]:
        """One tensor for all that blocks exchange, so that one call clears it; the addresses of its parts."""
        starts, total = {}, 0
        for name, size in sizes.items():
            starts[name] = total
            total += -(-size // 16) * 16  # 128 bytes
        self._exchange = torch.zeros(total, dtype=torch.int64, device=self.device)
        return {name: self._exchange.data_ptr() + 8 * start for name, start in starts.items()}

    def _divide_shared(self, widest: int) -> int:
        """Shared memory: the inputs (or what attention keeps), what is small, and the ring; returns the ring's slots."""
        queries = self._together * self.structure.head_dim
        attend = 4 * (queries + 2 * self.structure.head_dim + WARPS * (queries + 8 + 2 * self._together))
        self._x_bytes = -(-max(widest * 4, attend) // 128) * 128
        most = torch.cuda.get_device_properties(self.device).shared_memory_per_block_optin
        small = SMALL + NORMED * self._norm_bytes
        slots = min(32, (most - self._x_bytes - small) // SLOT)
        if slots < 2:
            raise UnknownStructure(f"{widest} inputs leave no room in shared memory")
        self._shared = slots * SLOT + self._x_bytes + small
        return slots

    def _embedding(self) -> dict[str, Any]:
        s = self.structure
        found: dict[str, Any] = {"positions": None, "embed_meta": None, "embed_m": 0}
        if s.positions is not None:
            found["positions"] = self._keep(s.positions.get_parameter("weight").to(self.dtype))
        if isinstance(s.embedding, QuantizedEmbedding):
            weight = prepare(s.embedding)
            if weight is None:
                raise UnknownStructure(f"no kernel for embeddings of {s.embedding.scheme}")
            self._set_book(weight)
            more = {"embed": weight.words.data_ptr(), "embed_meta": weight.meta.data_ptr()}
            return found | more | {"embed_kind": weight.kind, "embed_m": weight.group_shift}
        table = s.embedding.get_parameter("weight")
        if table.dtype != self.dtype or not table.is_contiguous():
            raise UnknownStructure(f"embeddings of {table.dtype}")
        return found | {"embed": table.data_ptr(), "embed_kind": RAW}

    def _rotation(self) -> tuple[Tensor | None, Tensor | None]:
        """Cosines and sines by position, as the model's own module makes them, in f32."""
        rotary = self.structure.rotary
        if rotary is None:
            return None, None
        ids = torch.arange(self.max_len, device=self.device)[None]
        with torch.inference_mode():
            cos, sin = rotary(torch.empty(0, dtype=torch.float32, device=self.device), ids)
        cos, sin = cos[0].contiguous(), sin[0].contiguous()
        if cos.shape[-1] > self.structure.head_dim:
            raise UnknownStructure("the rotary embedding is wider than a head")
        if cos.shape[-1] % 4:
            raise UnknownStructure(f"a rotary embedding of {cos.shape[-1]} dimensions is no multiple of 4")
        self._kept += [cos, sin]
        return cos, sin

    def _load(self, phases: list[_Phase]) -> None:
        s = self.structure
        bf16 = int(self.dtype == torch.bfloat16)
        kinds = sum(_KIND_BITS[kind] for kind in _kinds(phases))
        defines = (
            ("KINDS", kinds),
            ("HD", s.head_dim),
            ("RT", self._together),
            ("AHEAD", self._ahead),
            ("ACT", s.activation),
            ("SLOT", SLOT),
            ("SMALL", SMALL),
            ("BF16", bf16),
            ("PROFILE", PROFILE),
            ("LAYERNORM", int(s.layer_norm)),
            ("NORMS", -(-s.hidden // 2048)),
        )
        StepEngine._count += 1
        device = self.device.index or 0
        self._kernel = nvrtc.load(
            "decode_steps", (*(f"{n}.cuh" for n in SOURCES), "step.cu"), defines, device, StepEngine._count
        )
        self._kernel.allow_shared(self._shared)
        table = bytes((_Phase * len(phases))(*phases))
        self._kernel.write_constant("PHASES", table)
        self._args.phase_list = self._keep(torch.frombuffer(bytearray(table), dtype=torch.uint8).to(self.device))
        if PROFILE:
            self.profile = torch.zeros(self.blocks, len(phases), 16, dtype=torch.int64, device=self.device)
            self._args.profile = self.profile.data_ptr()
        self._kernel.write_constant("BOOK", self._book or bytes(64))

    def _keep(self, tensor: Tensor) -> int:
        self._kept.append(tensor.contiguous())
        return self._kept[-1].data_ptr()


def _kinds(phases: list[_Phase]) -> set[int]:
    return {seg.kind for phase in phases for seg in phase.seg[: phase.segs]}


def _place(structure: Structure) -> tuple[torch.device, torch.dtype]:
    weight = structure.norm.get_parameter("weight")
    return weight.device, weight.dtype
