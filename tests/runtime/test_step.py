"""The driver of the fused step without a GPU: what the kernel is told, with a kernel that only listens."""

import ctypes
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import fewbits
from fewbits.runtime import nvrtc, step, step_phases
from fewbits.runtime.step import SOURCES, StepEngine
from fewbits.runtime.step_tables import ATTEND, DOWN, GATED, HEAD, KIND_BITS, MOST_TAGS, OUT, PLAIN, QKV, RAW, Args, Phase
from fewbits.runtime.structure import Structure, UnknownStructure, recognise
from fewbits.runtime.weight import repack

SIZES: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 320, "num_hidden_layers": 2, "vocab_size": 99}
FREE: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}


class _Kernel:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.constants: dict[str, bytes] = {}
        self.launches: list[tuple[int, int]] = []

    def allow_shared(self, size: int) -> None:
        self.shared = size

    def write_constant(self, name: str, data: bytes) -> None:
        self.constants[name] = data

    def launch(self, grid: int, block: int, args: Args, *, shared: int, attributes: tuple[int, ...]) -> None:
        self.launches.append((args.pos, args.steps))
        assert (grid, block, shared, attributes) == (132, 640, self.shared, (nvrtc.COOPERATIVE,))


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """An H200's sizes, a kernel that listens, weights repacked where they are. Gives what the kernel is compiled with."""
    defined: dict[str, int] = {}

    def load(name: str, sources: Any, defines: Any, device: int, copy: int) -> _Kernel:
        defined.clear()
        defined.update(defines)
        return _Kernel()

    sizes = SimpleNamespace(multi_processor_count=132, shared_memory_per_block_optin=232_448)
    monkeypatch.setattr(nvrtc, "unavailable", lambda: None)
    monkeypatch.setattr(nvrtc, "load", load)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: sizes)
    for module in (step, step_phases):
        monkeypatch.setattr(module, "prepare", lambda layer: repack(layer.owner.quantized))
    return defined


def _llama(plan: dict[str, str] | None = None, dtype: torch.dtype = torch.float16, **changes: Any) -> Structure:
    from transformers import LlamaConfig, LlamaForCausalLM

    settings = SIZES | {"num_attention_heads": 4, "num_key_value_heads": 2} | changes
    model: Any = LlamaForCausalLM(LlamaConfig(**settings, **FREE)).to(dtype)
    return recognise(fewbits.quantize(model, plan) if plan else model)


def _phases(engine: StepEngine) -> list[Phase]:
    table = engine._kernel.constants["PHASES"]  # type: ignore[attr-defined]
    return list((Phase * (len(table) // ctypes.sizeof(Phase))).from_buffer_copy(table))


def test_structures_have_the_kernels_sizes() -> None:
    assert ctypes.sizeof(Phase) == 208  # of 16 bytes a multiple: the copy engine brings it
    assert (Phase.norm.offset, Phase.seg.offset, Phase.bias.offset) == (48, 64, 184)
    assert Args.phases.offset == 17 * 8


def test_all_parts_of_the_kernel_are_packed() -> None:
    assert "decode_steps" in nvrtc._source((*(f"{name}.cuh" for name in SOURCES), "step.cu"))
    found = {f.name for f in (files("fewbits.runtime") / "cuda").iterdir() if f.name.startswith("step")}
    assert found == {"step.cu", *(f"{name}.cuh" for name in SOURCES if name.startswith("step"))}


def test_a_layer_is_five_phases(listening: dict[str, int]) -> None:
    phases = _phases(StepEngine(_llama({"*": "uint4g64", "lm_head": "int8"}), max_len=200))
    assert [p.type for p in phases] == [QKV, ATTEND, OUT, GATED, DOWN] * 2 + [HEAD]
    assert [p.layer for p in phases if p.type == ATTEND] == [0, 1]
    assert [(p.units, p.rows, p.k) for p in phases[:5] if p.type != ATTEND] == [
        (32, 512, 256), (16, 256, 256), (20, 320, 256), (16, 256, 320),
    ]  # fmt: skip
    assert [bool(p.norm) for p in phases[:5]] == [True, False, False, True, False]
    assert (phases[-1].units, phases[-1].rows, phases[-1].kind, phases[-1].seg[0].chunk) == (7, 99, 8, 16)
    assert listening["KINDS"] == KIND_BITS[4] | KIND_BITS[8]
    assert (listening["HD"], listening["BF16"], listening["LAYERNORM"]) == (64, 0, 0)


def test_plain_layers_are_rows_and_their_biases_stand_one_after_another(listening: dict[str, int]) -> None:
    structure = _llama(attention_bias=True, dtype=torch.bfloat16)
    with torch.no_grad():
        for i, rows in enumerate(structure.blocks[0].qkv):
            rows.layer.get_parameter("bias").fill_(i + 1)
    engine = StepEngine(structure, max_len=64)
    qkv = _phases(engine)[0]
    assert (qkv.kind, qkv.raw, qkv.seg[0].chunk, qkv.parts) == (RAW, 1, 8, 2)
    assert (ctypes.c_float * 512).from_address(qkv.bias)[:] == [1.0] * 256 + [2.0] * 128 + [3.0] * 128
    assert listening["BF16"] == 1


def test_gpt_2_has_plain_mlps_biased_norms_and_positions(listening: dict[str, int]) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    model: Any = GPT2LMHeadModel(GPT2Config(n_embd=256, n_layer=2, n_head=4, vocab_size=99, **FREE)).half()
    engine = StepEngine(recognise(fewbits.quantize(model, {"*": "int8"})), max_len=64)
    phases = _phases(engine)
    assert [p.type for p in phases[:5]] == [QKV, ATTEND, OUT, PLAIN, DOWN]
    assert phases[0].biased
    assert engine._args.norm_bytes == 2 * 2 * 256
    assert engine._args.positions
    assert not engine._args.cos
    assert listening["LAYERNORM"] == 1


def test_short_contexts_are_spread_over_more_blocks(listening: dict[str, int]) -> None:
    structure = _llama({"*": "uint4g64"})
    short = StepEngine(structure, max_len=1024)
    assert (listening["RT"], listening["AHEAD"], short._args.splits) == (1, 2, 16)
    StepEngine(structure, max_len=2048)
    assert (listening["RT"], listening["AHEAD"]) == (2, 2)


def test_the_ring_takes_the_shared_memory_that_is_left(listening: dict[str, int]) -> None:
    engine = StepEngine(_llama({"*": "uint4g64"}), max_len=64)
    args = engine._args
    assert args.ring_bytes == listening["SLOTS"] * listening["SLOT"]
    used = args.ring_bytes + args.x_bytes + listening["SMALL"] + 4 * args.norm_bytes
    assert used == engine._kernel.shared <= 232_448 < used + listening["SLOT"]  # type: ignore[attr-defined]


def test_a_long_run_is_several_launches_and_each_starts_with_clear_words(listening: dict[str, int]) -> None:
    engine = StepEngine(_llama({"*": "uint4g64"}), max_len=9000)
    most = MOST_TAGS // 11
    engine._exchange.fill_(5)
    engine.decode(3, most + 100)
    assert engine._kernel.launches == [(3, most), (3 + most, 100)]  # type: ignore[attr-defined]
    assert int(engine._exchange.abs().sum()) == 0
    assert most * 11 < 1 << 16


def test_exchanged_words_do_not_overlap(listening: dict[str, int]) -> None:
    engine = StepEngine(_llama({"*": "uint4g64"}), max_len=64)
    args, base = engine._args, engine._exchange.data_ptr()
    sizes = {"h": 128, "qkv": 256, "act": 160, "parts": 16 * 128, "part_sums": 16 * 4, "best": 4 * 132}
    spans = sorted((getattr(args, name) - base, 8 * size) for name, size in sizes.items())
    ends = [start + size for start, size in spans]
    assert all(end <= start for end, (start, _) in zip(ends, spans[1:], strict=False))
    assert ends[-1] <= 8 * engine._exchange.numel()
    assert all(start % 128 == 0 for start, _ in spans)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: _llama(head_dim=16), "heads of 16"),
        (lambda: _llama(hidden_size=160, num_attention_heads=2), "heads of 80"),
        (lambda: _llama(intermediate_size=336), "no multiple of 64"),
        (lambda: _llama(dtype=torch.float32), "torch.float32"),
        (lambda: _llama({"*.q_proj": "int8", "*": "uint4g64"}), "quantized differently"),
        (lambda: _llama({"*": "uint4g64"}, hidden_size=576, num_attention_heads=144, head_dim=64), "multiprocessors"),
    ],
)
def test_what_the_kernel_cannot_compute_is_refused(listening: dict[str, int], make: Any, says: str) -> None:
    with pytest.raises(UnknownStructure, match=says):
        StepEngine(make(), max_len=64)


def test_a_norm_of_another_type_is_refused(listening: dict[str, int]) -> None:
    structure = _llama({"*": "uint4g64"})
    structure.blocks[1].norm1.float()
    with pytest.raises(UnknownStructure, match=r"a norm of torch\.float32"):
        StepEngine(structure, max_len=64)


def test_without_a_gpu_the_reason_is_told() -> None:
    if nvrtc.unavailable() is None:
        pytest.skip("this machine has a GPU")
    with pytest.raises(UnknownStructure, match="no CUDA device"):
        StepEngine(_llama({"*": "uint4g64"}), max_len=64)
