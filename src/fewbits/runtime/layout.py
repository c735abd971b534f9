"""The layout that kernels read: codes in the order in which tensor cores want them.

A weight is cut into tiles of 16 outputs x 64 inputs. Lane `4 g + t` of a warp (g = 0..7, t = 0..3) holds 32 codes of a tile,
named by a step j = 0..3, a register i = 0..3 and a half h = 0..1 of `mma.m16n8k16`'s left operand:

    output = g + 8 (i % 2)          input = 32 (i // 2) + 16 h + 4 t + j

so that one 16-byte load gives a lane all its 4-bit codes of a tile, a mask and an `or` make two of them 16-bit floats, and a warp
reads 512 consecutive bytes. Which input stands where does not matter to a product as long as both sides agree.

    4 bits: word j,            code at bit 4 i + 16 h
    8 bits: word 2 j + i // 2, code at bit 16 (i % 2) + 8 h; words 0-3 of all lanes, then words 4-7
    2 bits: word j // 2,       code at bit 2 i + 8 (j % 2) + 16 h
    3 bits: the low two bits as above for all lanes, then one word of high bits a lane, at bit i + 4 j + 16 h

Beside them one pair (scale, zero point) of f16 for each output and group: [tiles of outputs, groups, 16] words,
a lane's two outputs side by side.
"""

import torch
from jaxtyping import Float, Int32, UInt8
from torch import Tensor

TILE_ROWS, TILE_COLS = 16, 64
BITS = (2, 3, 4, 8)
_CHUNK = 1 << 22  # codes rearranged at a time: about 100 MB of working memory


def tiles_of(rows: int, cols: int) -> tuple[int, int]:
    """How many tiles a matrix takes along its outputs and its inputs."""
    return -(-rows // TILE_ROWS), -(-cols // TILE_COLS)


def to_tiles(codes: UInt8[Tensor, "rows cols"], bits: int) -> Int32[Tensor, "row_tiles col_tiles words"]:
    """Rearrange codes (below 2**bits) into tiles of `32 * bits` words; what is missing to whole tiles is filled with 0."""
    rows, cols = codes.shape
    high, wide = tiles_of(rows, cols)
    out = torch.empty(high, wide, 32 * bits, dtype=torch.int32, device=codes.device)
    step = max(1, _CHUNK // (wide * TILE_ROWS * TILE_COLS))
    for start in range(0, high, step):
        part = codes[start * TILE_ROWS : (start + step) * TILE_ROWS]
        count = min(step, high - start)
        pad = (0, wide * TILE_COLS - cols, 0, count * TILE_ROWS - part.shape[0])
        out[start : start + count] = _pack_tiles(torch.nn.functional.pad(part, pad), bits)
    return out


def from_tiles(
    tiles: Int32[Tensor, "row_tiles col_tiles words"], bits: int, rows: int, cols: int
) -> UInt8[Tensor, "rows cols"]:
    """Undo `to_tiles`."""
    high, wide, _ = tiles.shape
    out = torch.empty(high * TILE_ROWS, wide * TILE_COLS, dtype=torch.uint8, device=tiles.device)
    step = max(1, _CHUNK // (wide * TILE_ROWS * TILE_COLS))
    for start in range(0, high, step):
        part = _unpack_tiles(tiles[start : start + step], bits)
        out[start * TILE_ROWS : start * TILE_ROWS + part.shape[0]] = part
    return out[:rows, :cols]


def meta_tiles(scale: Float[Tensor, "rows groups"], zero: Float[Tensor, "rows groups"]) -> Int32[Tensor, "row_tiles groups 16"]:
    """Scale and zero point as two f16 in a word, scale in the low half; outputs g and g + 8 of a tile side by side."""
    rows, groups = scale.shape
    short = -rows % TILE_ROWS
    pair = torch.stack([scale, zero], dim=-1).half()
    pair = torch.nn.functional.pad(pair, (0, 0, 0, 0, 0, short))
    pair = pair.view(-1, 2, 8, groups, 2).permute(0, 3, 2, 1, 4).contiguous()
    return pair.view(torch.int32).reshape(-1, groups, TILE_ROWS)


def _shifts(device: torch.device, step: tuple[int, int, int]) -> Tensor:
    """Bit positions over (i // 2, i % 2, h)."""
    grid = [torch.arange(2, device=device) * s for s in step]
    return grid[0][:, None, None] + grid[1][:, None] + grid[2]


def _gather(values: Tensor, shifts: Tensor, dims: int) -> Tensor:
    words = (values.long() << shifts).flatten(-dims).sum(-1)
    return torch.where(words >= 1 << 31, words - (1 << 32), words).int()


def _pack_tiles(codes: Tensor, bits: int) -> Tensor:
    high, wide = codes.shape[0] // TILE_ROWS, codes.shape[1] // TILE_COLS
    lanes = codes.view(high, 2, 8, wide, 2, 2, 4, 4)  # tile, i % 2, g, tile, i // 2, h, t, j
    lanes = lanes.permute(0, 3, 2, 6, 7, 4, 1, 5).contiguous()  # tile, tile, g, t, j, i // 2, i % 2, h
    if bits == 4:
        return _gather(lanes, _shifts(codes.device, (8, 4, 16)), 3).view(high, wide, -1)
    if bits == 8:
        words = _gather(lanes, _shifts(codes.device, (0, 16, 8))[0], 2).view(high, wide, 32, 2, 4)
        return words.transpose(2, 3).reshape(high, wide, -1)
    low = _pack_twos(lanes & 3)
    if bits == 2:
        return low
    shifts = torch.arange(4, device=codes.device)[:, None, None, None] * 4 + _shifts(codes.device, (2, 1, 16))
    return torch.cat([low, _gather(lanes >> 2, shifts, 4).view(high, wide, -1)], dim=-1)


def _pack_twos(lanes: Tensor) -> Tensor:
    high, wide = lanes.shape[:2]
    pairs = lanes.view(high, wide, 8, 4, 2, 2, 2, 2, 2)  # ..., j // 2, j % 2, i // 2, i % 2, h
    shifts = torch.arange(2, device=lanes.device)[:, None, None, None] * 8 + _shifts(lanes.device, (4, 2, 16))
    return _gather(pairs, shifts, 4).view(high, wide, -1)


def _unpack_tiles(tiles: Tensor, bits: int) -> Tensor:
    high, wide, _ = tiles.shape
    mask = (1 << bits) - 1
    if bits == 4:
        lanes = tiles.view(high, wide, 8, 4, 4, 1, 1, 1) >> _shifts(tiles.device, (8, 4, 16)) & mask
    elif bits == 8:
        words = tiles.view(high, wide, 2, 32, 4).transpose(2, 3).reshape(high, wide, 8, 4, 4, 2, 1, 1)
        lanes = words >> _shifts(tiles.device, (0, 16, 8))[0] & mask
    else:
        lanes = _unpack_twos(tiles[..., :64])
        if bits == 3:
            shifts = torch.arange(4, device=tiles.device)[:, None, None, None] * 4 + _shifts(tiles.device, (2, 1, 16))
            lanes = lanes + ((tiles[..., 64:].reshape(high, wide, 8, 4, 1, 1, 1, 1) >> shifts & 1) << 2)
    lanes = lanes.to(torch.uint8).permute(0, 6, 2, 1, 5, 7, 3, 4)  # back to tile, i % 2, g, tile, i // 2, h, t, j
    return lanes.reshape(high * TILE_ROWS, wide * TILE_COLS)


def _unpack_twos(tiles: Tensor) -> Tensor:
    high, wide, _ = tiles.shape
    shifts = torch.arange(2, device=tiles.device)[:, None, None, None] * 8 + _shifts(tiles.device, (4, 2, 16))
    lanes = tiles.reshape(high, wide, 8, 4, 2, 1, 1, 1, 1) >> shifts & 3
    return lanes.view(high, wide, 8, 4, 4, 2, 2, 2)
