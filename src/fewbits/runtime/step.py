"""The driver of the fused decode step (cuda/step.cu): a recognised model's phases, its cache, and launches."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fewbits.errors import FewbitsError
from fewbits.layers import QuantizedEmbedding
from fewbits.runtime import nvrtc, sizes
from fewbits.runtime.prepare import prepare
from fewbits.runtime.prompt import PromptReader
from fewbits.runtime.step_phases import Phases
from fewbits.runtime.step_tables import BATCH, KIND_BITS, MOST_TAGS, NORMED, RAW, SLOT, SMALL, WARPS, Args, Phase
from fewbits.runtime.structure import Structure, UnknownStructure

SOURCES = (
    "tile", "step_base", "step_exchange", "step_ring", "step_embedding", "step_bytes", "step_put", "step_inputs", "step_products",
    "step_rows", "step_finish", "step_attention",
)  # fmt: skip
F16_MOST = 65_504.0  # the cache is f16: bf16's 8 bits would be most of what the step loses
PROFILE = 0  # 1: the kernel notes its clock at some points of each phase


class StepEngine:
    """Decodes one sequence of a model on the GPU, one launch for any number of tokens.

    Raises UnknownStructure where the model, its formats or its dtype are not what the kernel computes.
    """

    _count: ClassVar[int] = 0

    def __init__(self, structure: Structure, max_len: int) -> None:
        self.structure, self.max_len = structure, max_len
        self.device, self.dtype = _place(structure)
        self._check()
        places = max_len if structure.positions is None else sizes.of(structure.positions)[0]
        self._longest = min(max_len, places)
        self._made = Phases(structure, self.device, self.dtype)
        phases = self._made.all()
        self._share_attention()
        self._tensors(max(p.k for p in phases))
        self._arguments(len(phases))
        self._load(phases)
        self._reader = PromptReader(structure, self._turns, max_len)

    # ---- use ----
    def decode(self, start: int, steps: int, *, temperature: float = 0.0, seed: int = 0, logits: bool = False) -> None:
        """Read token `start` of `self.tokens`, write `steps` more after it. The cache must hold what is before `start`.

        Raises FewbitsError past the length that the cache was made for.
        """
        if start < 0 or start + steps > self._longest:
            raise FewbitsError(f"tokens {start} to {start + steps} of a sequence of {self._longest}")
        args = self._args
        args.inv_temperature = 1 / temperature if temperature > 0 else 0.0
        args.seed = seed & 0xFFFFFFFF
        args.logits = self.logits.data_ptr() if logits else None
        most = MOST_TAGS // args.phases
        for first in range(0, steps, most):
            args.pos, args.steps = start + first, min(most, steps - first)
            self._exchange.zero_()
            self._kernel.launch(self.blocks, 32 * (WARPS + 4), args, shared=self._shared, attributes=(nvrtc.COOPERATIVE,))

    def load_cache(self, layers: Sequence[tuple[Float[Tensor, "1 kv n d"], Float[Tensor, "1 kv n d"]]]) -> None:
        """Take over keys (already rotated) and values of a prompt."""
        for i, (keys, values) in enumerate(layers):
            n = keys.shape[2]
            self.keys[i, :, :n] = keys[0].clamp(-F16_MOST, F16_MOST)
            self.values[i, :, :n] = values[0].clamp(-F16_MOST, F16_MOST)

    def read(self, ids: Int[Tensor, "1 n"], *, record: bool = True) -> Float[Tensor, "1 vocabulary"]:
        """Read a prompt from position 0 on, keep its keys and values; the logits of its last token.

        `record`: whether a second prompt of a length may be recorded as a CUDA graph. Raises FewbitsError for one that is too long.
        """
        n = ids.shape[1]
        if n > self._longest:
            raise FewbitsError(f"a prompt of {n} tokens for a sequence of {self._longest}")
        found = self._reader.read(ids, record=record)
        self.keys[:, :, :n] = found.keys.clamp(-F16_MOST, F16_MOST)
        self.values[:, :, :n] = found.values.clamp(-F16_MOST, F16_MOST)
        return found.logits

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

    def _share_attention(self) -> None:
        """How many blocks share a head's keys, query heads a pass over them, and keys a lane holds.

        A short context is read again by each head, which spreads it over more blocks. Two keys a lane: with four, fewer blocks
        share a head and a step of Llama-1B took 446 us on an H100 where it takes 425; with one, 441.
        """
        s = self.structure
        self.blocks = torch.cuda.get_device_properties(self.device).multi_processor_count
        pairs = s.heads // s.kv_heads % 2 == 0
        self._together, self._ahead = 1 if self.max_len <= 1024 and s.head_dim > 32 else 1 + pairs, 2
        if s.heads // self._together > self.blocks or s.hidden > 16 * BATCH * self.blocks:
            raise UnknownStructure(f"{s.heads} heads, a width of {s.hidden} on {self.blocks} multiprocessors")
        self._splits = min(16, self.blocks // (s.heads // self._together))

    def _tensors(self, widest: int) -> None:
        s, device = self.structure, self.device
        cache = (len(s.blocks), s.kv_heads, self.max_len, s.head_dim)
        self.keys, self.values = (torch.zeros(cache, dtype=torch.float16, device=device) for _ in range(2))
        self.tokens = torch.zeros(self.max_len + 1, dtype=torch.int32, device=device)
        self.logits = torch.empty(s.vocabulary, dtype=torch.float32, device=device)
        qkv, parts = (s.heads + 2 * s.kv_heads) * s.head_dim, s.heads * self._splits
        sizes = {"h": s.hidden // 2, "qkv": qkv // 2, "act": widest // 2, "parts": parts * s.head_dim // 2}
        self._exchanged = self._words(sizes | {"part_sums": parts, "best": 4 * self.blocks})
        self._divide_shared(widest)

    def _arguments(self, phases: int) -> None:
        s = self.structure
        cos, sin = self._rotation()
        self._args = Args(
            **self._exchanged,
            **self._embedding(),
            keys=self.keys.data_ptr(),
            values=self.values.data_ptr(),
            cos=nvrtc.address(cos),
            sin=nvrtc.address(sin),
            tokens=self.tokens.data_ptr(),
            phases=phases,
            hidden=s.hidden,
            heads=s.heads,
            kv_heads=s.kv_heads,
            max_len=self.max_len,
            splits=self._splits,
            rep_inverse=-(-65536 // (s.heads // s.kv_heads)),
            rope_dim=0 if cos is None else cos.shape[-1],
            eps=s.eps,
            attn_scale=s.blocks[0].scaling,
            ring_bytes=self._slots * SLOT,
            x_bytes=self._x_bytes,
            norm_bytes=self._made.norm_bytes,
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

    def _divide_shared(self, widest: int) -> None:
        """Shared memory: the inputs (or what attention keeps), what is small, and as many slots of the ring as then fit."""
        queries = self._together * self.structure.head_dim
        attend = 4 * (queries + 2 * self.structure.head_dim + WARPS * (queries + 8 + 2 * self._together))
        self._x_bytes = -(-max(widest * 4, attend) // 128) * 128
        most = torch.cuda.get_device_properties(self.device).shared_memory_per_block_optin
        small = SMALL + NORMED * self._made.norm_bytes
        self._slots = min(32, (most - self._x_bytes - small) // SLOT)
        if self._slots < 2:
            raise UnknownStructure(f"{widest} inputs leave no room in shared memory")
        self._shared = self._slots * SLOT + self._x_bytes + small

    def _embedding(self) -> dict[str, Any]:
        s = self.structure
        found: dict[str, Any] = {"positions": None, "embed_meta": None, "embed_m": 0}
        if s.positions is not None:
            found["positions"] = self._made.keep(s.positions.get_parameter("weight").to(self.dtype))
        if isinstance(s.embedding, QuantizedEmbedding):
            weight = prepare(s.embedding)
            if weight is None:
                raise UnknownStructure(f"no kernel for embeddings of {s.embedding.scheme}")
            self._made.set_book(weight)
            more = {"embed": weight.words.data_ptr(), "embed_meta": weight.meta.data_ptr()}
            return found | more | {"embed_kind": weight.kind, "embed_m": weight.group_shift}
        table = s.embedding.get_parameter("weight")
        if table.dtype != self.dtype or not table.is_contiguous():
            raise UnknownStructure(f"embeddings of {table.dtype}")
        return found | {"embed": table.data_ptr(), "embed_kind": RAW}

    def _rotation(self) -> tuple[Tensor | None, Tensor | None]:
        """Cosines and sines by position, as the model's own module makes them, in f32."""
        rotary, self._turns = self.structure.rotary, None
        if rotary is None:
            return None, None
        ids = torch.arange(self.max_len, device=self.device)[None]
        with torch.inference_mode():
            cos, sin = rotary(torch.empty(0, dtype=torch.float32, device=self.device), ids)
        if cos.shape[:2] != (1, self.max_len) or sin.shape != cos.shape:
            raise UnknownStructure(f"its rotary embedding has {tuple(cos.shape)}, not {self.max_len} positions")
        cos, sin = cos[0].float().contiguous(), sin[0].float().contiguous()
        if cos.shape[-1] > self.structure.head_dim:
            raise UnknownStructure("the rotary embedding is wider than a head")
        if cos.shape[-1] % 4:
            raise UnknownStructure(f"a rotary embedding of {cos.shape[-1]} dimensions is no multiple of 4")
        self._turns = cos, sin  # kept: the kernel has their addresses
        return self._turns

    def _load(self, phases: list[Phase]) -> None:
        s = self.structure
        bf16 = int(self.dtype == torch.bfloat16)
        kinds = sum(KIND_BITS[kind] for kind in _kinds(phases))
        defines = (
            ("KINDS", kinds),
            ("HD", s.head_dim),
            ("RT", self._together),
            ("AHEAD", self._ahead),
            ("ACT", s.activation),
            ("SLOTS", self._slots),
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
        table = bytes((Phase * len(phases))(*phases))
        self._kernel.write_constant("PHASES", table)
        self._args.phase_list = self._made.keep(torch.frombuffer(bytearray(table), dtype=torch.uint8).to(self.device))
        if PROFILE:
            self.profile = torch.zeros(self.blocks, len(phases), 16, dtype=torch.int64, device=self.device)
            self._args.profile = self.profile.data_ptr()
        self._kernel.write_constant("BOOK", self._made.book or bytes(64))


def _kinds(phases: list[Phase]) -> set[int]:
    return {seg.kind for phase in phases for seg in phase.seg[: phase.segs]}


def _place(structure: Structure) -> tuple[torch.device, torch.dtype]:
    weight = structure.norm.get_parameter("weight")
    return weight.device, weight.dtype
