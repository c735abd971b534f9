"""Random calls of the library's C functions: valid ones are right, those with a bad number or pointer are refused.

Whether a pointer points to enough memory cannot be checked by them, so sizes are only ever changed to impossible ones.
"""

import ctypes
import random
from typing import Any

import torch
from torch import nn

from fewbits import solvers, solvers_cpu
from fewbits.layers import QuantizedEmbedding, QuantizedLinear
from fewbits.packing import pack as pack_codes
from fewbits.runtime import cpu
from fewbits.runtime.cpu import library, lookup
from fewbits.runtime.cpu.pack import restore
from fewbits.scheme import Scheme
from tests.runtime.fuzzing.operators import random_scheme

BAD = library.BAD_ARGUMENT
IMPOSSIBLE = (-1, -(2**31), 0)
THREADS = (-(2**31), -1, 0, 1, 2, 7, 2**31 - 1)


def check_linear(random: random.Random, widths: tuple[int, ...]) -> str:
    """`fewbits_linear` and `fewbits_energies`."""
    cols = random.choice([32, 64, 96, 192])
    layer = QuantizedLinear.from_float(nn.Linear(cols, 37), Scheme.parse(random_scheme(random, widths, cols)))
    pack = cpu.packed(layer)
    if pack is None:
        return "no kernel"
    lib, rows = library.load(), random.choice([1, 3, 20])
    x, out = torch.randn(rows, cols), torch.empty(rows, 37)
    weight = library.Weight.from_buffer_copy(pack.weight)
    arguments: list[Any] = [ctypes.addressof(weight), x.data_ptr(), out.data_ptr(), None, rows, cols, 0]
    arguments += [random.choice(THREADS), random.randrange(2), random.randrange(2)]
    energy = torch.empty(weight.padded + weight.padded // weight.block)
    assert lib.fewbits_energies(ctypes.addressof(weight), energy.data_ptr(), random.choice(THREADS)) == library.DONE
    assert lib.fewbits_linear(*arguments) == library.DONE
    assert torch.allclose(out, x @ layer.dequantize().T, rtol=0.1, atol=0.3 * cols**0.5)
    wrong = random.randrange(3)
    if wrong == 0:
        at = random.choice([0, 1, 2])
        arguments[at] = None
    elif wrong == 1:
        at, value = random.choice([(4, -1), (4, 2**40), (5, -1), (5, -(2**62)), (6, 3), (6, -1), (6, 99)])
        arguments[at] = value
    else:
        spoil_weight(random, weight)
        assert lib.fewbits_energies(arguments[0], energy.data_ptr(), 1) == BAD
    assert lib.fewbits_linear(*arguments) == BAD, (wrong, arguments)
    return f"linear {pack.format}"


def spoil_weight(random: random.Random, weight: library.Weight) -> None:
    """Change one field to what no weight has."""
    fields = ("cols", "padded", "bits", "group", "block")
    name = random.choice([*fields, "rows", "scale_type", "zero_type", "is_codebook", "codes", "scale", "gap", "scale_stride"])
    value = random.choice(IMPOSSIBLE) if name in fields else random.choice((-1, -(2**31)))
    setattr(weight, name, None if name in ("codes", "scale") else value)


def check_pack(random: random.Random, widths: tuple[int, ...]) -> str:
    """`fewbits_pack` and `fewbits_unpack`."""
    lib, bits = library.load(), random.choice(widths)
    rows, cols = random.choice([1, 16, 33]), random.choice([1, 32, 45, 100])
    padded = -(-cols // 32) * 32
    stored = pack_codes(torch.randint(2**bits, (rows * cols,), dtype=torch.uint8), bits)
    lines, back = torch.empty(-(-rows // 16) * padded * bits * 2, dtype=torch.uint8), torch.empty_like(stored)
    sizes: list[int] = [rows, cols, padded, bits, padded, 0]
    threads = random.choice(THREADS)
    assert lib.fewbits_pack(stored.data_ptr(), lines.data_ptr(), *sizes, threads) == library.DONE
    assert lib.fewbits_unpack(lines.data_ptr(), back.data_ptr(), *sizes) == library.DONE
    assert torch.equal(stored, back)
    at = random.randrange(6)
    sizes[at] = random.choice(IMPOSSIBLE[:2] if at == 5 else IMPOSSIBLE)
    assert lib.fewbits_pack(stored.data_ptr(), lines.data_ptr(), *sizes, 1) == BAD
    assert lib.fewbits_unpack(lines.data_ptr(), back.data_ptr(), *sizes) == BAD
    assert lib.fewbits_pack(None, lines.data_ptr(), rows, cols, padded, bits, padded, 0, 1) == BAD
    return f"pack {bits}"


def check_restored(random: random.Random, widths: tuple[int, ...]) -> str:
    """A layer's pack is undone to its stored codes."""
    cols = random.choice([32, 45, 128])
    layer = QuantizedLinear.from_float(nn.Linear(cols, 21), Scheme.parse(random_scheme(random, widths, cols)))
    pack = cpu.packed(layer)
    assert pack is None or torch.equal(restore(pack), layer.get_buffer("codes"))
    return "restore"


def check_lookup(random: random.Random, widths: tuple[int, ...]) -> str:
    """`fewbits_lookup`."""
    layer = QuantizedEmbedding.from_float(nn.Embedding(9, 64), Scheme.parse(random_scheme(random, widths, 64)))
    held = lookup._held(layer.quantized)
    table = lookup._Table.from_buffer_copy(held.table)
    ids, out, call = torch.randint(9, (5,)), torch.empty(5, 64), lookup._lookup()
    assert call(ctypes.addressof(table), ids.data_ptr(), 5, out.data_ptr(), random.choice(THREADS)) == library.DONE
    assert torch.equal(out, layer.dequantize()[ids])
    name = random.choice(["rows", "cols", "bytes", "block_rows", "block_cols", "bits", "codes"])
    setattr(table, name, None if name == "codes" else random.choice(IMPOSSIBLE))
    assert call(ctypes.addressof(table), ids.data_ptr(), 5, out.data_ptr(), 1) == BAD, name
    bad = torch.tensor([random.choice([-1, 9, 2**40, -(2**63)])])
    assert call(ctypes.addressof(held.table), bad.data_ptr(), 1, out.data_ptr(), 1) == library.NO_SUCH_ROW
    assert call(ctypes.addressof(held.table), None, 1, out.data_ptr(), 1) == BAD
    assert call(None, ids.data_ptr(), 1, out.data_ptr(), 1) == BAD
    return "lookup"


def check_solve(random: random.Random, widths: tuple[int, ...]) -> str:
    """`fewbits_solve`, `fewbits_finite` and `fewbits_to_stream`."""
    lib, bits = solvers.library(), random.choice(widths)
    assert lib is not None
    values, scale, stream = torch.randn(6, 16), torch.ones(6), torch.empty(6 * 16 * bits // 8 + 1, dtype=torch.uint8)
    rounding = solvers_cpu._Rounding(steps=2.0**bits - 1, bits=bits, implied_zero=1.0, order=random.randrange(3))
    groups = solvers_cpu._Groups(weights=values.data_ptr(), scale=scale.data_ptr(), stream=stream.data_ptr(), n=6, k=16)
    groups.threads = random.choice(THREADS)
    assert lib.fewbits_solve(None, ctypes.byref(rounding), ctypes.byref(groups)) == library.DONE
    of, name = random.choice(
        [(rounding, n) for n in ("bits", "order", "type")] + [(groups, n) for n in ("n", "k", "across", "type")]
    )
    setattr(of, name, random.choice((-1, -(2**31), 99)) if of is rounding or name == "type" else -1)
    assert lib.fewbits_solve(None, ctypes.byref(rounding), ctypes.byref(groups)) == BAD, name
    assert lib.fewbits_solve(None, None, None) == BAD
    assert lib.fewbits_finite(values.data_ptr(), 0, 96, random.choice(THREADS)) == 1
    assert lib.fewbits_finite(values.data_ptr(), random.choice([-1, 3, 9]), 96, 1) == -2
    assert lib.fewbits_finite(None, 0, 96, 1) == -2 and lib.fewbits_finite(values.data_ptr(), 0, -5, 1) == -2
    codes = torch.randint(2**bits, (96,), dtype=torch.uint8)
    assert lib.fewbits_to_stream(codes.data_ptr(), stream.data_ptr(), 96, bits) == library.DONE
    assert torch.equal(stream[: 96 * bits // 8], pack_codes(codes, bits))
    assert lib.fewbits_to_stream(codes.data_ptr(), stream.data_ptr(), 96, random.choice([0, 9, -1, 2**31 - 1])) == BAD
    return "solve"


def check_read(random: random.Random, widths: tuple[int, ...]) -> str:
    """`fewbits_read`."""
    lib, values = library.load(), torch.randn(random.choice([0, 1, 100, 5000]))
    lib.fewbits_read(values.data_ptr(), values.nbytes, random.choice(THREADS))
    lib.fewbits_read(None, 1 << 40, 1)
    lib.fewbits_read(values.data_ptr(), -1, 1)
    return "read"


CHECKS = (check_linear, check_pack, check_restored, check_lookup, check_solve, check_read)
