"""Code for code against other libraries: the same weight must give the same codes, scales, zero points and weights back.

compressed-tensors and bitsandbytes: everything equal, to the last bit.
torchao: it multiplies by 1 / scale where we and compressed-tensors divide, and rounds before it adds the zero point where
compressed-tensors rounds after: the two cannot both be met. Scales and zero points are equal, and codes but for weights that
lie half way between two codes, which are as far from the one as from the other.
"""

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fewbits.scheme import Scheme
from fewbits.tensor import QuantizedTensor
from tests.shared import shared_path

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # theirs

BITS = [2, 3, 4, 5, 6, 7, 8]


def randn(rows: int, cols: int, seed: int) -> Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed))


RANDOM = {
    **{f"normal {seed}": (lambda seed=seed: randn(512, 256, seed)) for seed in range(3)},
    "one row": lambda: randn(1, 1024, 3),
    "wide": lambda: randn(24, 4096, 4),
    "heavy tails": lambda: randn(256, 512, 5) ** 3,
    "bf16, full of ties": lambda: randn(256, 512, 6).bfloat16().float(),
    "small": lambda: randn(64, 256, 7) * 1e-4,
    "of one sign": lambda: randn(64, 256, 8).abs(),
    "offset": lambda: randn(64, 256, 9) + 3,
}


def trained(model: str, name: str) -> Tensor:
    for file in sorted(shared_path(f"models/{model}").glob("*.safetensors")):
        tensors = load_file(file)
        if name in tensors:
            return tensors[name].float()
    pytest.fail(f"{model} has no {name}")


TRAINED = {
    "llama-8m q": lambda: trained("llama-8m", "model.layers.3.self_attn.q_proj.weight"),
    "llama-8m down": lambda: trained("llama-8m", "model.layers.7.mlp.down_proj.weight"),
    "llama-28m up": lambda: trained("llama-28m", "model.layers.2.mlp.up_proj.weight"),
    "llama-28m embedding": lambda: trained("llama-28m", "model.embed_tokens.weight")[:1024],
    "vit": lambda: trained("vit-cifar10", "classifier.weight"),
}
WEIGHTS = RANDOM | TRAINED


def assert_same(ours: QuantizedTensor, codes: Tensor, scale: Tensor, zero: Tensor | None, weight: Tensor) -> None:
    """All of it, to the last bit."""
    assert torch.equal(ours.scale(), scale.view_as(ours.scale()))
    if zero is not None:
        assert torch.equal(ours.zero(), zero.view_as(ours.scale()))
    assert int((ours.codes() != codes).sum()) == 0
    assert torch.equal(ours.dequantize(), weight)


@pytest.mark.parametrize(("weight", "group"), [*((w, 64) for w in WEIGHTS), *((w, 32) for w in RANDOM)])
@pytest.mark.parametrize("symmetric", [True, False])
def test_compressed_tensors(weight: str, group: int, symmetric: bool) -> None:
    pytest.importorskip("compressed_tensors")
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.lifecycle.forward import dequantize, quantize
    from compressed_tensors.quantization.utils import calculate_qparams

    matrix = WEIGHTS[weight]()
    groups = matrix.view(matrix.shape[0], -1, group)
    for bits in BITS:
        args = QuantizationArgs(num_bits=bits, type="int", symmetric=symmetric, strategy="group", group_size=group)
        scale, zero = calculate_qparams(groups.amin(dim=-1), groups.amax(dim=-1), args)
        codes = quantize(matrix, scale, zero, args)
        back, middle = dequantize(codes, scale, zero, args), 2 ** (bits - 1)
        ours = Scheme.parse(f"rtn:int{bits}g{group}/f32" if symmetric else f"rtn:uint{bits}g{group}z/f32").quantize(matrix)
        assert_same(ours, (codes + middle).to(torch.uint8), scale, zero.float() + middle, back)


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("symmetric", [True, False])
def test_torchao(weight: str, symmetric: bool) -> None:
    pytest.importorskip("torchao")
    from torchao.quantization import IntxWeightOnlyConfig, MappingType, PerGroup, quantize_

    matrix = WEIGHTS[weight]()
    for bits in BITS:
        layer = torch.nn.Linear(*reversed(matrix.shape), bias=False)
        layer.weight = torch.nn.Parameter(matrix)
        how = MappingType.SYMMETRIC if symmetric else MappingType.ASYMMETRIC
        quantize_(layer, IntxWeightOnlyConfig(getattr(torch, f"int{bits}"), PerGroup(64), how))
        theirs, middle = layer.weight, 2 ** (bits - 1)
        ours = Scheme.parse(f"rtn:int{bits}g64/f32" if symmetric else f"rtn:uint{bits}g64z/f32").quantize(matrix)
        assert torch.equal(ours.scale(), theirs.scale)
        assert torch.equal(ours.zero(), theirs.zero_point.float() + middle)
        assert_same_but_for_ties(ours, (theirs.qdata.short() + middle).to(torch.uint8), theirs.dequantize(), matrix)


def assert_same_but_for_ties(ours: QuantizedTensor, codes: Tensor, back: Tensor, matrix: Tensor) -> None:
    """Where codes differ they are neighbours, and the weight is half way between the two; elsewhere all is equal."""
    differ = ours.codes() != codes
    assert torch.equal(ours.dequantize()[~differ], back[~differ])
    assert differ.float().mean() < 0.01
    scale = ours.scale().double().repeat_interleave(64, dim=1)
    apart = (ours.codes().short() - codes.short()).abs()
    half = ((matrix.double() / scale) % 1 - 0.5).abs()
    assert (apart[differ] == 1).all()
    assert (half[differ] < 2e-5).all()  # f32 cannot tell: a quotient of 128 has steps of 1.5e-5
    assert float((ours.dequantize() - matrix).norm()) <= float((back - matrix).norm()) * (1 + 1e-6)


@pytest.mark.parametrize(("weight", "group"), [*((w, g) for w in WEIGHTS for g in (32, 64)), *((w, 128) for w in RANDOM)])
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_bitsandbytes(weight: str, group: int, kind: str) -> None:
    pytest.importorskip("bitsandbytes")
    matrix = WEIGHTS[weight]()
    codes, scale, back = in_four_bits(matrix, kind, group)
    assert_same(Scheme.parse(f"{kind}g{group}/f32").quantize(matrix), codes, scale, None, back)


def in_four_bits(matrix: Tensor, kind: str, group: int) -> tuple[Tensor, Tensor, Tensor]:
    """What bitsandbytes stores, its nibbles (first code high) unpacked, and what it makes of it."""
    from bitsandbytes import functional

    packed, state = functional.quantize_4bit(matrix, blocksize=group, quant_type=kind)
    codes = torch.stack([packed.view(-1) >> 4, packed.view(-1) & 15], dim=1).view(matrix.shape)
    return codes, state.absmax, functional.dequantize_4bit(packed, state)


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_bitsandbytes_has_our_codebooks(kind: str) -> None:
    pytest.importorskip("bitsandbytes")
    from bitsandbytes import functional

    from fewbits.codebooks import codebook

    assert torch.equal(codebook(kind[:2], 4), functional.get_4bit_type(kind, device="cpu"))


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_bitsandbytes_on_a_group_of_zeros(kind: str) -> None:
    """It stores a scale of 0 there, we the smallest in use: the codes and the weights are the same."""
    pytest.importorskip("bitsandbytes")
    matrix = randn(4, 128, 0)
    matrix[1, 64:] = 0
    codes, _, back = in_four_bits(matrix, kind, 64)
    ours = Scheme.parse(f"{kind}g64/f32").quantize(matrix)
    assert torch.equal(ours.codes(), codes)
    assert torch.equal(ours.dequantize(), back)
