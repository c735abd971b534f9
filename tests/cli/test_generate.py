from pathlib import Path

import pytest
import torch

import fewbits as library
from fewbits import models
from tests.cli.running import Runner, refused

PROMPT = "The list of files is"


def test_it_continues_as_transformers_does(fewbits: Runner) -> None:
    ended = fewbits("generate", "demo", PROMPT, "--scheme", "uint4g64", "--max-new-tokens", 12, "--json")
    assert ended.code == 0, ended.err
    row = ended.document["results"][0]
    loaded = models.load("demo", dtype="float32")
    library.quantize(loaded.model, "uint4g64")
    ids = loaded.tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    want = loaded.model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
    assert row["text"] == loaded.tokenizer.decode(want, skip_special_tokens=True)
    assert row["plan"] == "rtn:uint4g64" and row["prompt"] == PROMPT and row["new_tokens"] == len(want)
    assert ended.out.startswith(row["text"] + "\n")
    assert row["measures"]["decode_speed"]["value"] > 0 and "greedy" in row["measures"]["decode_speed"]["protocol"]
    assert "tokens/s" in ended.err


def test_public_functions() -> None:
    loaded = models.load("demo", dtype="float32")
    whole = library.generate(loaded.model, PROMPT, tokenizer=loaded.tokenizer, max_new_tokens=8)
    pieces = list(library.stream(loaded.model, PROMPT, tokenizer=loaded.tokenizer, max_new_tokens=8))
    assert "".join(pieces) == whole and len(pieces) > 2


def test_a_seed_repeats(fewbits: Runner) -> None:
    drawn = [
        fewbits("generate", "demo", PROMPT, "--max-new-tokens", 12, "--temperature", 1.5, "--top-p", 0.95, "--seed", s).out
        for s in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_one_token_has_no_speed_of_writing(fewbits: Runner) -> None:
    ended = fewbits("generate", "demo", PROMPT, "--max-new-tokens", 1, "--json")
    assert ended.code == 0 and set(ended.document["results"][0]["measures"]) == {"generate_time", "prefill_speed"}


def test_what_a_user_can_get_wrong(fewbits: Runner, tmp_path: Path) -> None:
    refused(fewbits("generate", "demo-vision", "a"), "demo-vision", "language model")
    refused(fewbits("generate", "demo", PROMPT, "--max-new-tokens", 100_000), "positions")
    refused(fewbits("generate", "demo", PROMPT, "--top-p", 0), "top_p")
    refused(fewbits("generate", "demo", PROMPT, "--scheme", "uint9"), "9 bits")
    refused(fewbits("generate", "demo", PROMPT, "--dtype", "float13"), "float13")
    refused(fewbits("generate", tmp_path / "nowhere", PROMPT), "nowhere")


@pytest.mark.parametrize("kernels", [True, False])
def test_transformers_own_generate_runs_on_the_kernels(kernels: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from fewbits.runtime import cpu

    if not cpu.available():
        pytest.skip(str(cpu.why_not()))
    loaded = models.load("demo", dtype="float32")
    library.quantize(loaded.model, "uint4g64")
    with cpu.enabled(kernels):
        loaded.model.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=2, do_sample=False)
    assert (cpu.packed_bytes(loaded.model) > 0) == kernels
