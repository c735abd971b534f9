"""What the fused decode step (cuda/step.cu) is told: structures as the kernel lays them out, and its constants."""

import ctypes

QKV, ATTEND, OUT, GATED, PLAIN, DOWN, HEAD = range(7)  # types of phases
RAW = 16  # kind of plain rows; other kinds are KernelWeight's
SLOT = 18_432  # bytes of a ring slot: 32 tiles of 4 bits with their scales, 16 of 8 bits, 16 KiB of plain rows
SMALL = 27_648  # bytes kept for struct Shared
WARPS, BATCH, NORMED = 16, 8, 4  # warps that compute, tiles they sum at a time, norms' weights that are brought ahead
MOST_INPUTS = 32_768
MOST_PHASES = 304  # of a step
MOST_TAGS = 65_000  # phases of a launch: words that blocks exchange carry the phase's number in 16 bits
KIND_BITS = {4: 1, 8: 2, 3: 4, 2: 8, 104: 16, RAW: 32}
_P, _I = ctypes.c_void_p, ctypes.c_int


class Seg(ctypes.Structure):
    """Outputs of one layer, or of a part of it."""

    _fields_ = (("w", _P), ("meta", _P), *((n, _I) for n in ("tiles", "rows", "kind", "m", "chunk", "unused")))


class Phase(ctypes.Structure):
    """One product of a step with what comes before and after it, or attention."""

    _fields_ = (
        *((n, _I) for n in ("type", "kb", "k", "kind", "m", "rows", "layer", "parts")),
        ("unused", _I * 3),
        ("inv_k", ctypes.c_float),
        ("norm", _P),
        *((n, _I) for n in ("biased", "raw")),
        ("seg", Seg * 3),
        ("bias", _P),
        ("up_bias", _P),
        *((n, _I) for n in ("units", "segs")),
    )


class Args(ctypes.Structure):
    """The kernel's parameter."""

    _fields_ = (
        *((n, _P) for n in ("h", "qkv", "act", "parts", "part_sums", "best", "keys", "values", "cos", "sin")),
        *((n, _P) for n in ("embed", "embed_meta", "positions", "tokens", "logits", "phase_list", "profile")),
        *((n, _I) for n in ("phases", "steps", "pos")),
        *((n, _I) for n in ("hidden", "heads", "kv_heads", "max_len", "splits")),
        *((n, _I) for n in ("embed_kind", "embed_m", "rep_inverse", "rope_dim")),
        *((n, ctypes.c_float) for n in ("eps", "attn_scale", "inv_temperature")),
        *((n, ctypes.c_uint32) for n in ("seed", "ring_bytes", "x_bytes", "norm_bytes")),
    )
