"""Packing: what goes in comes out, in exactly `bits` a code."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewbits import packing
from fewbits.errors import FewbitsError
from fewbits.packing import pack, packed_bytes, unpack

WIDTHS = range(1, 9)


def some_codes(count: int, bits: int, seed: int = 0) -> torch.Tensor:
    """Random codes; the first and the last are the largest there is, so that no border can lose bits unseen."""
    codes = torch.randint(0, 1 << bits, (count,), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    codes[:1] = codes[-1:] = (1 << bits) - 1
    return codes


def as_stream(codes: torch.Tensor, bits: int) -> bytes:
    """The bytes that the docstring promises, by Python's own big integers."""
    number = sum(code << (bits * k) for k, code in enumerate(codes.tolist()))
    return number.to_bytes((codes.numel() * bits + 7) // 8, "little")


@given(st.integers(1, 8), st.integers(0, 300), st.integers(0, 2**16))
def test_round_trip_in_exactly_that_many_bits(bits: int, count: int, seed: int) -> None:
    codes = some_codes(count, bits, seed)
    packed = pack(codes, bits)
    assert packed.dtype == torch.uint8
    assert packed.numel() == packed_bytes(count, bits) == -(-count * bits // 8)
    assert unpack(packed, bits, count).tolist() == codes.tolist()


@given(st.integers(1, 8), st.integers(0, 70), st.integers(0, 2**16))
def test_bytes_are_the_little_endian_stream_of_bits(bits: int, count: int, seed: int) -> None:
    codes = some_codes(count, bits, seed)
    assert bytes(pack(codes, bits).tolist()) == as_stream(codes, bits)


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("chunk", [8, 24, 64])
def test_chunks_leave_no_seam(bits: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "CHUNK", chunk)
    for over in (-9, -8, -1, 0, 1, 7, 8):
        codes = some_codes(3 * chunk + over, bits)
        assert bytes(pack(codes, bits).tolist()) == as_stream(codes, bits), over


@pytest.mark.parametrize("bits", [2, 3])
def test_the_real_chunk_leaves_no_seam(bits: int) -> None:
    codes = some_codes(packing.CHUNK + 13, bits)
    codes[packing.CHUNK - 1 : packing.CHUNK + 1] = (1 << bits) - 1
    assert torch.equal(unpack(pack(codes, bits), bits, codes.numel()), codes)


def test_the_chunk_is_whole_bytes_at_every_width() -> None:
    assert packing.CHUNK % 8 == 0


@pytest.mark.parametrize("bits", WIDTHS)
def test_eight_codes_are_as_many_bytes_as_they_have_bits(bits: int) -> None:
    assert pack(some_codes(8 * 1000, bits), bits).numel() == 1000 * bits


@pytest.mark.parametrize("bits", WIDTHS)
def test_padding_of_the_last_byte_is_zero(bits: int) -> None:
    used = 7 * bits % 8
    last = int(pack(some_codes(7, bits), bits)[-1])
    assert used == 0 or last >> used == 0


@pytest.mark.parametrize("bits", WIDTHS)
def test_codes_with_strides(bits: int) -> None:
    codes = some_codes(202, bits)
    assert torch.equal(pack(codes[::2], bits), pack(codes[::2].contiguous(), bits))
    packed = pack(codes[:101], bits)
    apart = torch.stack([packed, 255 - packed], dim=1)[:, 0]
    assert torch.equal(unpack(apart, bits, 101), codes[:101])


@pytest.mark.parametrize("bits", WIDTHS)
def test_packing_does_not_share_memory_with_the_codes(bits: int) -> None:
    codes = some_codes(16, bits)
    packed = pack(codes, bits)
    codes.zero_()
    assert packed.any()


@pytest.mark.parametrize("bits", WIDTHS)
def test_fewer_codes_than_stored(bits: int) -> None:
    codes = some_codes(40, bits)
    for count in (0, 1, 7, 8, 9, 39):
        assert torch.equal(unpack(pack(codes, bits), bits, count), codes[:count])


@pytest.mark.parametrize("bits", WIDTHS)
def test_too_few_bytes_are_refused(bits: int) -> None:
    packed = pack(some_codes(24, bits), bits)
    with pytest.raises(FewbitsError, match=f"{packed.numel() - 1} bytes cannot hold 24 codes of {bits} bits"):
        unpack(packed[:-1], bits, 24)


def test_a_big_endian_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing.sys, "byteorder", "big")
    with pytest.raises(FewbitsError, match="little-endian"):
        pack(some_codes(8, 3), 3)
