"""How long a process takes to its first token: with nothing compiled yet, and again with what the first one left on disk.

    python benchmarks/gpu_first_token.py [--plan uint4g64] [--layers 16] [--prompt 64] [--device cuda]

Llama-3.2-1B's shape with random weights is quantized and saved once; then processes load it and generate, two as `fewbits generate`
does, without transformers, and two by `fewbits.load`; the first of each with an empty FEWBITS_CACHE, TRITON_CACHE_DIR and
CUDA_CACHE_PATH (NVRTC's own). Each tells from its start to the first token and, of that, how long imports, loading and moving to the
GPU took, and from the model on the GPU to the first token (compilations and the prompt); then the time of a second prompt of the same
length. What cannot be gone below comes first: processes that import PyTorch, that also use the GPU, and that import transformers'
Llama. All have Python's bytecode on disk, as pip leaves it, and the files in memory, as another process left them: "as source" tells
what the first of these take, which have no bytecode. The last line is JSON.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import fewbits

FLOORS = {
    "import torch": "import torch",
    "and use the GPU": "import torch; torch.zeros(1, device='cuda')",
    "import torch and transformers' Llama": "import torch, transformers.models.llama.modeling_llama",
}


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
    for name in ("tokenizer.json", "tokenizer_config.json"):  # which processes do not use, but `fewbits generate` looks for
        with as_file(files("fewbits.models") / "demo" / name) as path:
            shutil.copy(path, folder / name)


def first_token(folder: Path, prompt: int, device: str, light: bool) -> dict[str, float]:
    """Run in a process of its own, whose start is in the environment."""
    begun = float(os.environ["FEWBITS_STARTED"])
    loading = _begin(folder, device) if light else None
    import torch

    def seconds_to_a_token() -> float:
        ids = torch.randint(0, 128256, (prompt,), device=device)
        start = time.time()
        next(iter(fewbits.stream(model, ids, max_new_tokens=17, stop=()))).tolist()
        return time.time() - start

    if light:
        import_module("fewbits.evaluate.writing")  # as the command does
    else:
        import transformers.models.llama.modeling_llama  # noqa: F401  # as loading will
    times = [time.time() - begun]
    model: Any = loading.load().model if loading else fewbits.load(folder)
    times.append(time.time() - begun)
    model = model if light else model.to(device)
    torch.zeros(1, device=device).item()
    times.append(time.time() - begun)
    first = seconds_to_a_token()
    since_start = time.time() - begun
    parts = {"imports": times[0], "load": times[1] - times[0], "to_the_gpu": times[2] - times[1]}
    return {"since_start": since_start, **parts, "since_loaded": first, "second_prompt": seconds_to_a_token()}


def _begin(folder: Path, device: str) -> Any:
    from fewbits.storage import light

    return light.begin(str(folder), device)


def floors(bytecode: dict[str, str]) -> dict[str, float]:
    """Seconds of processes that import what is needed in any case, after one that did the same."""
    found = {}
    for name, code in FLOORS.items():
        for kind in (f"{name}, as source", name):
            start = time.time()
            subprocess.run([sys.executable, "-c", code], env=os.environ | bytecode, check=True)
            found[kind] = time.time() - start
    return found


def with_bytecode(place: Path) -> dict[str, str]:
    """Python's settings for keeping bytecode where it may be written."""
    return {"PYTHONPYCACHEPREFIX": str(place / "bytecode"), "PYTHONDONTWRITEBYTECODE": ""}


def in_a_process(folder: Path, cache: Path, options: argparse.Namespace, *, light: bool) -> dict[str, float]:
    """The figures of one process."""
    more = with_bytecode(folder.parent) | {
        "FEWBITS_CACHE": str(cache / "fewbits"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "CUDA_CACHE_PATH": str(cache / "cuda"),  # NVRTC's own
        "FEWBITS_STARTED": str(time.time()),
    }
    command = [sys.executable, __file__, "--run", str(folder), "--prompt", str(options.prompt), "--device", options.device]
    command += ["--light"] if light else []
    told = subprocess.run(command, env=os.environ | more, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(told.splitlines()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", default="uint4g64")
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--light", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(first_token(options.run, options.prompt, options.device, options.light)))
        return
    with tempfile.TemporaryDirectory() as place:
        results: dict[str, dict[str, float]] = {"floors": floors(with_bytecode(Path(place)))}
        folder = Path(place) / "model"
        make(folder, options.plan, options.layers, options.device)
        for way, light in (("fewbits generate", True), ("fewbits.load", False)):
            cache = Path(place) / f"cache {light}"
            in_a_process(folder, cache / "other", options, light=light)  # leaves bytecode, and the files in memory
            for name in ("nothing compiled", "all on disk"):
                results[f"{way}, {name}"] = in_a_process(folder, cache, options, light=light)
    for name, figures in results.items():
        print(f"{name:34}", "  ".join(f"{k} {v:.2f} s" for k, v in figures.items()))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
