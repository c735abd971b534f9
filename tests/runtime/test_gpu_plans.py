"""Which blocks the GPU kernels use: plans that fit the machine for any shape, and choices that are tried once and kept."""

from dataclasses import replace

import pytest
import torch

from fewbits.runtime import row, vector, wide
from fewbits.runtime.triton import tuning
from fewbits.runtime.triton.tuning import DEFAULT, Blocks
from fewbits.runtime.weight import NF4, KernelWeight

LLAMA_1B = [(3072, 2048), (2048, 2048), (16384, 2048), (2048, 8192), (128256, 2048)]
ODD = [(1, 4), (33, 100), (1000, 14336), (17, 64)]


def weight(rows: int, cols: int, bits: int, book: bool = False) -> KernelWeight:
    words = torch.empty(-(-rows // 16), -(-cols // 64), 32 * bits, dtype=torch.int32, device="meta")
    meta = torch.empty(words.shape[0], 1, 16, dtype=torch.int32, device="meta")
    values = tuple(float(i) for i in range(16)) if book else None
    return KernelWeight(words=words, meta=meta, rows=rows, cols=cols, bits=bits, group_shift=0, book=values)


@pytest.mark.parametrize("shape", [*LLAMA_1B, *ODD])
@pytest.mark.parametrize("bits", [8, 4, 3, 2])
def test_streams_fit_into_shared_memory(shape: tuple[int, int], bits: int) -> None:
    made = weight(*shape, bits, book=bits == 4)
    assert (made.kind == NF4) == (bits == 4)
    for rows_of_x in (2, 8):
        plan = vector.plan_for(made, rows_of_x)
        if plan is None:  # x alone is too large
            assert shape[1] * rows_of_x * 2 > 64 << 10
            continue
        assert vector.shared_bytes(made, rows_of_x, plan) <= 208 << 10
        assert plan.stages >= 2
        assert plan.warps % plan.team == 0
        assert plan.chunk * 4 <= 32  # lanes that copy a chunk's scales


@pytest.mark.parametrize("shape", [*LLAMA_1B, *ODD])
@pytest.mark.parametrize(("bits", "book"), [(8, False), (4, True), (4, False), (3, False), (2, False)])
def test_streams_for_one_row_fit_beside_the_next_ones(shape: tuple[int, int], bits: int, book: bool) -> None:
    made = weight(*shape, bits, book=book)
    plan = row.plan_for(made)
    blocks = 16 // plan.warps  # of a multiprocessor
    assert blocks * row.shared_bytes(made, plan) <= 224 << 10
    if plan.stages == 1:
        assert 2 * blocks * row.shared_bytes(made, plan) <= (224 + 128 * book) << 10
    assert plan.warps % plan.team == 0
    assert plan.chunk <= 8  # columns of an mma


@pytest.mark.parametrize(("rows", "cols"), [*LLAMA_1B, (512, 2048), (8192, 2048), *ODD])
@pytest.mark.parametrize("rows_of_x", [9, 16, 33, 64, 65, 128, 129, 256, 300, 512, 2048, 5000])
@pytest.mark.parametrize("bits", [8, 4, 3, 2])
def test_wide_plans_fit_and_leave_every_block_inputs(rows: int, cols: int, rows_of_x: int, bits: int) -> None:
    tiles = -(-cols // 64)
    plan = wide.plan_for(rows, tiles, rows_of_x)
    if plan is None:
        assert rows_of_x > 512
        return
    assert plan.blocks * (plan.shared(bits) + 1024) <= 228 << 10
    assert plan.split == 1 or (tiles >= 2 * plan.split and not plan.stays)
    assert plan.cols >= min(rows_of_x, 128)
    warps = -(-plan.threads * plan.blocks // 128)  # of a quarter of a multiprocessor, which has 16,384 registers
    sums = plan.each * plan.cols // 2
    assert (plan.registers or 16384 // (32 * warps)) > sums + 32


class Tried(list[Blocks]):
    def run(self, blocks: Blocks) -> None:
        self.append(blocks)


@pytest.fixture
def some_gpu(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FEWBITS_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA Some/GPU 7")
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    best = replace(DEFAULT, tiles=8)
    monkeypatch.setattr(tuning, "_seconds", lambda run, blocks: run(blocks) or (1.0 if blocks == best else 2.0))
    tuning._kept.cache_clear()
    return "NVIDIA Some/GPU 7"


def test_blocks_are_tried_once_and_kept_on_disk(some_gpu: str) -> None:
    tried, key = Tried(), tuning.key_of(4, 16, 4096, 2048)
    best = tuning.choose(key, torch.device("cuda"), tried.run)
    assert best == replace(DEFAULT, tiles=8)
    assert tried == list(tuning.CANDIDATES)
    tuning._kept.cache_clear()  # as another process would
    assert tuning.choose(key, torch.device("cuda"), tried.run) == best
    assert len(tried) == len(tuning.CANDIDATES)


def test_other_choices_on_disk_are_kept(some_gpu: str) -> None:
    for kind in (4, 8):
        tuning.choose(tuning.key_of(kind, 16, 64, 64), torch.device("cuda"), Tried().run)
    tuning._kept.cache_clear()
    assert len(tuning._kept(some_gpu)) == 2


def test_what_is_shipped_is_not_tried(some_gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200 NVL")
    tried = Tried()
    assert tuning.choose("kind 4, 64 rows, wide", torch.device("cuda"), tried.run).tiles == 2
    assert not tried


def test_nothing_is_tried_in_the_interpreter_or_while_a_graph_is_recorded(
    some_gpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = Tried()
    assert tuning.choose("kind 4, 16 rows, wide", torch.device("cpu"), tried.run) == DEFAULT
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert tuning.choose("kind 4, 16 rows, wide", torch.device("cuda"), tried.run) == DEFAULT
    assert not tried
