"""The phases of a recognised model, with the addresses of its weights: what the fused decode step runs through for each token."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fewbits.layers import QuantizedLayer
from fewbits.runtime.gemv import book_words
from fewbits.runtime.prepare import prepare
from fewbits.runtime.step_tables import (
    ATTEND,
    DOWN,
    GATED,
    HEAD,
    MOST_INPUTS,
    MOST_PHASES,
    OUT,
    PLAIN,
    QKV,
    RAW,
    SLOT,
    WARPS,
    Phase,
    Seg,
)
from fewbits.runtime.structure import Rows, Structure, UnknownStructure
from fewbits.runtime.weight import KernelWeight


class Phases:
    """Makes the phases of a model and keeps what they point to. Raises UnknownStructure for what the kernel cannot compute."""

    def __init__(self, structure: Structure, device: torch.device, dtype: torch.dtype) -> None:
        self.structure, self.device, self.dtype = structure, device, dtype
        self.book: bytes | None = None
        self.norm_bytes = 0
        self._kept: list[Tensor] = []

    def all(self) -> list[Phase]:
        """In the order in which they run."""
        phases: list[Phase] = []
        s = self.structure
        for layer, block in enumerate(s.blocks):
            q = self._phase(QKV, block.qkv, s.hidden, norm=block.norm1)
            mlp = (block.up,) if block.gate is None else (block.gate, block.up)
            kind = PLAIN if block.gate is None else GATED
            made = [
                q,
                Phase(type=ATTEND, layer=layer),
                self._phase(OUT, (block.out,), s.heads * s.head_dim),
                self._phase(kind, mlp, s.hidden, norm=block.norm2),
                self._phase(DOWN, (block.down,), block.up.count),
            ]
            phases += made
        whole = Rows(layer=s.head, first=0, count=s.vocabulary)
        phases.append(self._phase(HEAD, (whole,), s.hidden, norm=s.norm))
        if len(phases) > MOST_PHASES:
            raise UnknownStructure(f"more than {MOST_PHASES // 5} layers")
        return phases

    def _phase(self, kind: int, rows: Sequence[Rows], k: int, norm: nn.Module | None = None) -> Phase:
        if k % 64 or k > MOST_INPUTS:
            raise UnknownStructure(f"{k} inputs are no multiple of 64, or more than {MOST_INPUTS}")
        phase = Phase(type=kind, k=k, kb=k // 64, inv_k=1 / k, segs=len(rows))
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
            self._norm(phase, norm)
        return phase

    def _norm(self, phase: Phase, norm: nn.Module) -> None:
        weight, bias = norm.get_parameter("weight").detach(), getattr(norm, "bias", None)
        if weight.dtype != self.dtype:
            raise UnknownStructure(f"a norm of {weight.dtype} among {self.dtype}")
        phase.norm = self.keep(weight if bias is None else torch.cat([weight, bias.detach()]))
        phase.biased, self.norm_bytes = int(bias is not None), phase.k * 2 * (1 if bias is None else 2)

    def _biases(self, rows: Sequence[Rows]) -> int | None:
        """Of all outputs of a phase, one after another; 0 where a layer has none."""
        found = [getattr(part.layer, "bias", None) for part in rows]
        if all(bias is None for bias in found):
            return None
        parts = [
            torch.zeros(part.count, device=self.device) if bias is None else bias.detach()[part.first : part.first + part.count]
            for bias, part in zip(found, rows, strict=True)
        ]
        return self.keep(torch.cat([p.float() for p in parts]))

    def _segment(self, part: Rows, k: int) -> Seg:
        seg = Seg(rows=part.count, tiles=-(-part.count // 16))
        if isinstance(part.layer, QuantizedLayer):
            weight = prepare(part.layer)
            if weight is None:
                raise UnknownStructure(f"no kernel for {part.layer.scheme}")
            return self._tiled(seg, weight, part)
        return self._plain(seg, part, k)

    def _tiled(self, seg: Seg, weight: KernelWeight, part: Rows) -> Seg:
        if part.first % 16 or (part.count % 16 and part.first):
            raise UnknownStructure(f"outputs are not parted at multiples of 16: {part.first}, {part.count}")
        at = part.first // 16
        seg.w, seg.meta = weight.words[at].data_ptr(), weight.meta[at].data_ptr()
        seg.kind, seg.m, seg.chunk = weight.kind, weight.group_shift, 16 if weight.bits == 8 else 32
        self.set_book(weight)
        return seg

    def _plain(self, seg: Seg, part: Rows, k: int) -> Seg:
        weight = part.layer.get_parameter("weight")
        if not isinstance(part.layer, nn.Linear) or weight.dtype != self.dtype or not weight.is_contiguous():
            raise UnknownStructure(f"an unquantized {type(part.layer).__name__} of {weight.dtype}")
        seg.w, seg.meta, seg.kind, seg.m = weight[part.first].data_ptr(), None, RAW, 0
        seg.chunk = next((r for r in (8, 4, 2, 1) if r * k * 2 <= SLOT), 0)
        if not seg.chunk:
            raise UnknownStructure(f"unquantized rows of {k} do not fit")
        return seg

    def set_book(self, weight: KernelWeight) -> None:
        """Note the weight's codebook: the kernel has room for one."""
        if weight.book is None:
            return
        words = book_words(weight.book, torch.float16)
        if self.book not in (None, words):
            raise UnknownStructure("more than one codebook")
        self.book = words

    def keep(self, tensor: Tensor) -> int:
        """The address of a tensor that lives as long as this."""
        self._kept.append(tensor.contiguous())
        return self._kept[-1].data_ptr()
