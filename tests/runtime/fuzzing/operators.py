"""Random calls of the operators, valid and invalid: valid ones equal the plain path, invalid ones raise a Python error."""

import random
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from fewbits.errors import FewbitsError
from fewbits.layers import QuantizedEmbedding, QuantizedLinear
from fewbits.runtime import cpu
from fewbits.scheme import Scheme
from fewbits.tensor import layout

KINDS = (*((kind, bits) for kind in ("uint", "int") for bits in range(1, 9)), ("nf", 4), ("nf", 3), ("nf", 2), ("fp", 4))
RAISED = (FewbitsError, RuntimeError, TypeError, ValueError, IndexError)


def random_scheme(random: random.Random, widths: tuple[int, ...], cols: int) -> str:
    """A scheme that the kernels may or may not take."""
    books = (2, 3, 4) if 2 in widths else (4,)  # a build for the sanitizers has codebooks of 4 bits alone
    kind, bits = random.choice([k for k in KINDS if k[1] in (widths if k[0] in ("uint", "int") else books)])
    groups = [g for g in (4, 8, 16, 32, 64, 128) if cols % g == 0]
    grain = random.choice(["", "t", *(f"g{g}" for g in groups)])
    zero = "z" if kind == "uint" and random.random() < 0.3 else ""
    return f"{kind}{bits}{grain}{zero}{random.choice(['', '', '/f32', '/bf16', '/q8'])}"


def random_activations(random: random.Random, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Normal ones, tiny ones, huge ones, with outliers, and laid out in several ways."""
    x = torch.randn(shape) * random.choice([1, 1, 1, 1e-3, 1e-20, 1e4])
    if x.numel() and random.random() < 0.2:
        x.view(-1)[random.randrange(x.numel())] = random.choice([1e38, -1e4, 300.0, float("inf"), float("nan"), 0.0])
    x = x.to(dtype)
    way = random.randrange(4)
    if way == 1:
        return torch.stack([x, x], dim=-1)[..., 0]
    if way == 2:
        return torch.cat([x, x], dim=-1)[..., : shape[-1]]
    return x


def linear_arguments(random: random.Random, widths: tuple[int, ...]) -> tuple[QuantizedLinear, list[Any]] | None:
    """A layer and what `fewbits::cpu_linear` takes for it; None where there is no kernel."""
    rows, cols = random.choice([1, 5, 16, 33, 70]), random.choice([1, 7, 32, 64, 96, 128, 192, 320])
    dtype = random.choice([torch.float32, torch.float32, torch.float16, torch.bfloat16])
    scheme = Scheme.parse(random_scheme(random, widths, cols))
    linear = nn.Linear(cols, rows, bias=random.random() < 0.7)
    if random.random() < 0.1:
        linear.weight *= 1e-7  # its scales take an exponent
    layer = QuantizedLinear.from_float(linear, scheme).to(dtype)
    pack = cpu.packed(layer)
    if pack is None:
        return None
    shape = random.choice([(cols,), (1, cols), (3, cols), (2, 3, cols), (17, cols), (0, cols)])
    x = random_activations(random, shape, dtype)
    bias = None if layer.bias is None else layer.bias.detach()
    return layer, [x, pack.codes, pack.scale, pack.zero, bias, str(pack.format), rows, cols, random.random() < 0.3]


def check_linear(random: random.Random, widths: tuple[int, ...]) -> str:
    """One call, as it should be or with something changed. Returns what was done."""
    made = linear_arguments(random, widths)
    if made is None:
        return "no kernel"
    layer, arguments = made
    if random.random() < 0.5:
        return check_refused(torch.ops.fewbits.cpu_linear, arguments, random)
    x, exact = arguments[0], arguments[-1]
    got = torch.ops.fewbits.cpu_linear(*arguments)
    weight, wide = layer.dequantize().double(), x.double()
    want = wide @ weight.T + (0 if layer.bias is None else layer.bias.double())
    check_close(got, want, wide, weight, exact=exact, codebook=layer.scheme.format.is_codebook)
    return f"cpu_linear {arguments[5]} {tuple(x.shape)} {x.dtype} exact {exact}"


def check_close(got: Tensor, want: Tensor, x: Tensor, weight: Tensor, *, exact: bool, codebook: bool) -> None:
    """Within what rounding activations to 8 bits, codebooks to bytes, and floats to their dtype may cost."""
    fine = want.abs() < torch.finfo(got.dtype).max / 4
    size = x.abs() @ weight.abs().T
    step = x.abs().amax(-1, keepdim=True)
    bound = size * (1e-5 if exact else 1e-2) + (0 if exact else step / 127 * weight.abs().sum(-1))
    bound = bound + 1e-5 * x.abs().sum(-1, keepdim=True) * weight.abs().max()  # codes and zero points are summed apart
    if codebook and not exact:  # AVX2 has its values in 8 bits
        bound = bound + x.abs().sum(-1, keepdim=True) * weight.abs().max() / 254
    bound = bound + want.abs() * 2 * torch.finfo(got.dtype).eps + 1e-6
    off = (got.double() - want).abs()
    assert got.shape == want.shape, (got.shape, want.shape)
    assert bool(((off <= bound) | ~fine | ~bound.isfinite()).all()), (off / bound).max()
    assert bool((got.isfinite() | ~fine | (want.abs() + bound > torch.finfo(got.dtype).max)).all()), "not finite"


def check_rows(random: random.Random, widths: tuple[int, ...]) -> str:
    """One lookup. Returns what was done."""
    rows, cols = random.choice([1, 5, 24]), random.choice([1, 7, 32, 64, 72])
    layer = QuantizedEmbedding.from_float(nn.Embedding(rows, cols), Scheme.parse(random_scheme(random, widths, cols)))
    weight = layer.quantized
    stored = [weight.tensors[name] for name in layout(weight.format, weight.shape)]
    ids = torch.randint(rows, (random.choice([0, 1, 9]),), dtype=random.choice([torch.int64, torch.int32, torch.uint8]))
    arguments = [stored, ids, str(weight.format), [rows, cols]]
    if random.random() < 0.5:
        return check_refused(torch.ops.fewbits.cpu_rows, arguments, random)
    assert torch.equal(torch.ops.fewbits.cpu_rows(*arguments), weight.dequantize()[ids.long()])
    return f"cpu_rows {arguments[2]} {ids.shape}"


def check_refused(operator: Any, arguments: list[Any], random: random.Random) -> str:
    """A call with one or two arguments changed: refused, or done if it happens to be right."""
    for _ in range(random.choice([1, 1, 2])):
        at = random.randrange(len(arguments))
        with suppress(RuntimeError):  # not every change can be made to every tensor
            arguments[at] = changed(random, arguments[at])
    said = f"{operator} {[describe(a) for a in arguments]}"
    print(said, flush=True)
    try:
        operator(*arguments)
    except RAISED as error:
        return f"{type(error).__name__}"
    return "done"


def changed(random: random.Random, value: Any) -> Any:
    """Another value of the same kind, or of another."""
    if isinstance(value, Tensor):
        return random.choice(TENSORS)(value)
    if isinstance(value, list) and value and isinstance(value[0], Tensor):
        at = random.randrange(len(value))
        return random.choice([value[:-1], [], [*value, value[0]], [*value[:at], changed(random, value[at]), *value[at + 1 :]]])
    if isinstance(value, list):
        return random.choice([[], [0, 0], [-1, 64], [1 << 40, 1 << 40], [*value, 2], value[:1], [2**31, 1]])
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return random.choice([0, -1, -(2**31), 2**31, 2**62, value + 1, value * 2, value - 1])
    if isinstance(value, str):
        return random.choice(
            ["", "uint4", "uint4g64", "int8", "nf4", "uint1g4", "fp8", "uint9", "g", "uint4g0", "uint4g64z/q8", "x" * 999]
        )
    return random.choice([torch.empty(0), torch.zeros(16), torch.zeros(2, 2, 16, dtype=torch.int16)])


TENSORS = (
    lambda t: t[:0],
    lambda t: t.reshape(-1),
    lambda t: t[..., :-1],
    lambda t: t.unsqueeze(0),
    lambda t: t.double(),
    lambda t: t.to(torch.uint8),
    lambda t: t.to(torch.int32),
    lambda t: t.to("meta"),
    lambda t: t.mT if t.dim() > 1 else t,
    lambda t: torch.empty(0, dtype=t.dtype),
    lambda t: t.expand(2, *t.shape),
    lambda t: t.clone(memory_format=torch.contiguous_format),
    lambda t: t.to(torch.int64).neg().to(t.dtype) if not t.is_floating_point() else t * 1e38,
    lambda t: (t.to(torch.int64) + 2**40) if not t.is_floating_point() else t.bool(),
    lambda t: shrunk(t),
    lambda t: t.to_sparse(),
)


def shrunk(tensor: Tensor) -> Tensor:
    """A tensor whose memory was taken away under it."""
    out = tensor.clone()
    out.untyped_storage().resize_(max(0, out.untyped_storage().nbytes() // 2))
    return out


def describe(value: Any) -> str:
    """For the log: the last line before a crash is the call that crashed."""
    if isinstance(value, list):
        return str([describe(item) for item in value])
    return f"{value.dtype}{tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)[:80]
