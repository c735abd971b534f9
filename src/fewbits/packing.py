"""Codes <-> bytes, exactly `bits` each: 3 bits are 3.0, 5 are 5.0.

The codes follow one another as in a little-endian stream of bits, so eight codes of b bits are b bytes:

    byte stream: c0 | c1 << b | c2 << 2b | ... | c7 << 7b   (8 b bits = b bytes)

For 1, 2 and 4 bits that is the usual "low part first" of each byte. Only a tensor's very end is padded, to a whole byte.
"""

import sys

import torch
from jaxtyping import UInt8
from torch import Tensor

from fewbits import solvers
from fewbits.errors import FewbitsError
from fewbits.pieces import packed_bytes

CHUNK = 1 << 20  # codes packed at a time: bounds the working memory to about 3 MiB


def pack(codes: UInt8[Tensor, " n"], bits: int) -> UInt8[Tensor, " m"]:
    """Pack n codes below 2**bits into ceil(n * bits / 8) bytes."""
    if bits == 8:
        return codes.clone()
    _need_little_endian()
    out = codes.new_empty(packed_bytes(codes.numel(), bits))
    if solvers.available(codes.device):
        solvers.to_stream(codes.contiguous(), out, bits)
        return out
    for start in range(0, codes.numel(), CHUNK):
        piece = _pack_chunk(codes[start : start + CHUNK], bits)
        at = start * bits // 8
        room = out[at : at + piece.numel()]  # the last piece may carry padding that is not stored
        room.copy_(piece[: room.numel()])
    return out


def unpack(packed: UInt8[Tensor, " m"], bits: int, count: int) -> UInt8[Tensor, " n"]:
    """Undo `pack`: the first `count` codes."""
    if packed.numel() < packed_bytes(count, bits):
        raise FewbitsError(f"{packed.numel()} bytes cannot hold {count} codes of {bits} bits")
    if bits == 8 or count == 0:
        return packed[:count]
    if 8 % bits == 0:
        return _unpack_within_bytes(packed, bits)[:count]
    _need_little_endian()
    return _unpack_across_bytes(packed, bits)[:count]


def _pack_chunk(codes: Tensor, bits: int) -> Tensor:
    short = -codes.numel() % 8
    eights = torch.nn.functional.pad(codes, (0, short)).view(-1, 8)
    words = codes.new_empty(eights.shape[0], dtype=torch.int64).copy_(eights[:, 0])  # .long() keeps the stride of a lone one
    for k in range(1, 8):
        words |= eights[:, k].long() << (bits * k)
    return words.view(torch.uint8).view(-1, 8)[:, :bits].reshape(-1)


def _unpack_within_bytes(packed: Tensor, bits: int) -> Tensor:
    per_byte = 8 // bits
    out = packed.new_empty(packed.numel(), per_byte)
    for k in range(per_byte):
        torch.bitwise_right_shift(packed, bits * k, out=out[:, k])
    return out.bitwise_and_((1 << bits) - 1).view(-1)


def _unpack_across_bytes(packed: Tensor, bits: int) -> Tensor:
    short = -packed.numel() % bits
    eights = torch.nn.functional.pad(packed, (0, short)).view(-1, bits)
    words = torch.nn.functional.pad(eights, (0, 8 - bits)).view(-1).view(torch.int64)
    out = packed.new_empty(words.numel(), 8)
    for k in range(8):
        out[:, k] = (words >> (bits * k)).bitwise_and_((1 << bits) - 1)
    return out.view(-1)


def _need_little_endian() -> None:
    if sys.byteorder != "little":
        raise FewbitsError("packing needs a little-endian machine")
