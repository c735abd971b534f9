"""What a comparison of models takes in memory."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fewbits.evaluate.compare import evaluate
from fewbits.evaluate.row import Row
from fewbits.evaluate.settings import Settings
from fewbits.measure import arithmetic, peak_memory
from fewbits.models.names import resolve

MIB = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A random Llama of 100 MiB in bfloat16, which reads by the demo's tokenizer."""
    import shutil

    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config: Any = LlamaConfig(
        hidden_size=512,
        intermediate_size=2048,
        num_hidden_layers=10,
        num_attention_heads=8,
        num_key_value_heads=8,
        vocab_size=8192,
        max_position_embeddings=512,
        tie_word_embeddings=False,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path / "model")
    demo = resolve("demo").folder
    assert demo is not None
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(demo / name, tmp_path / "model" / name)
    return tmp_path / "model"


def test_kl_takes_both_models_as_stored_and_a_bounded_rest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """497 MiB if both models are cast to float32; 349 as they are stored, of which the logits of two batches are 64.

    Without the comparison with the kernels' answers: it keeps each quantized weight in pages of 2 MiB for a moment, and the
    layers here are smaller, which hides the difference.
    """
    monkeypatch.setattr(arithmetic, "_compare", lambda *_: None)
    settings = Settings(measures=("size", "kl"), max_tokens=1100, protocol="windows:256")
    evaluate([str(folder)], [], Settings(measures=("size", "ppl"), max_tokens=300, protocol="windows:256"))  # imports

    def work() -> list[Row]:
        return evaluate([str(folder)], ["uint4g64"], settings)

    rows, measure = peak_memory(work)
    stored = sum(row.measures["size"].value for row in rows)
    assert stored > 120 * MIB and rows[1].measures["kl"].value > 0
    assert measure.parts["growth"] < stored + 260 * MIB, measure.parts["growth"] / MIB
