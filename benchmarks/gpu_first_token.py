"""How long a process takes to its first token: with nothing compiled yet, and again with what the first one left on disk.

    python benchmarks/gpu_first_token.py [--plan uint4g64] [--layers 16] [--prompt 64] [--device cuda]

Llama-3.2-1B's shape with random weights is quantized and saved once; then two processes load it and generate, the first with an empty
FEWBITS_CACHE and TRITON_CACHE_DIR. Each tells from its start to the first token and, of that, how long imports, loading and moving to
the GPU took, and from the model on the GPU to the first token (compilations, repacking and the prompt); then the time of a second
prompt of the same length. The last line is JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import fewbits


def make(folder: Path, plan: str, layers: int, device: str) -> None:
    """Save the model."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=2048, intermediate_size=8192, num_hidden_layers=layers, num_attention_heads=32, num_key_value_heads=8,
        head_dim=64, vocab_size=128256, max_position_embeddings=131072, tie_word_embeddings=False, eos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        model: Any = LlamaForCausalLM(config).eval()
    torch.set_default_dtype(torch.float32)
    fewbits.save(fewbits.quantize(model, {"*": plan, "lm_head": plan}), folder)


def first_token(folder: Path, prompt: int, device: str) -> dict[str, float]:
    """Run in a process of its own, whose start is in the environment."""
    import torch

    def seconds_to_a_token() -> float:
        ids = torch.randint(0, 128256, (prompt,), device=device)
        start = time.time()
        next(iter(fewbits.stream(model, ids, max_new_tokens=17, stop=()))).tolist()
        return time.time() - start

    import transformers.models.llama.modeling_llama  # noqa: F401  # as loading will

    begun = float(os.environ["FEWBITS_STARTED"])
    times = [time.time() - begun]
    model: Any = fewbits.load(folder)
    times.append(time.time() - begun)
    model = model.to(device)
    torch.zeros(1, device=device).item()
    times.append(time.time() - begun)
    first = seconds_to_a_token()
    since_start = time.time() - begun
    parts = {"imports": times[0], "load": times[1] - times[0], "to_the_gpu": times[2] - times[1]}
    return {"since_start": since_start, **parts, "since_loaded": first, "second_prompt": seconds_to_a_token()}


def in_a_process(folder: Path, cache: Path, options: argparse.Namespace) -> dict[str, float]:
    """The figures of one process."""
    more = {
        "FEWBITS_CACHE": str(cache / "fewbits"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "FEWBITS_STARTED": str(time.time()),
    }
    command = [sys.executable, __file__, "--run", str(folder), "--prompt", str(options.prompt), "--device", options.device]
    told = subprocess.run(command, env=os.environ | more, check=True, capture_output=True, text=True).stdout
    return json.loads(told.splitlines()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", default="uint4g64")
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(first_token(options.run, options.prompt, options.device)))
        return
    with tempfile.TemporaryDirectory() as place:
        folder, cache = Path(place) / "model", Path(place) / "cache"
        make(folder, options.plan, options.layers, options.device)
        results = {name: in_a_process(folder, cache, options) for name in ("nothing compiled", "all on disk")}
    for name, figures in results.items():
        print(f"{name:18}", "  ".join(f"{k} {v:.2f} s" for k, v in figures.items()))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
