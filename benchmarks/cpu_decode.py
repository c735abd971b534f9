"""Tokens a second on the CPU of Llama-3.2-1B's shape with random weights: one sequence, a prompt of 64, one token after the other.

    make bench-cpu
    python benchmarks/cpu_decode.py --threads 2 [--rounds 5] [--peers llama] [--float]

The limit comes first: the bandwidth with which this machine reads memory, over the bytes of the weights of a step. All sides take
turns, round by round; the head is the table of embeddings, as in that model, and is quantized like the rest. --float adds torch's
float32 (5 GB), --peers llama llama.cpp's Q4_0 of the same shape (llama-cpp-python and gguf). The last line is JSON.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

import fewbits
from fewbits import machine
from fewbits.doctor.limits import read_bandwidth
from fewbits.doctor.predict import bytes_per_token
from fewbits.doctor.sample import twin
from fewbits.measure.speed import generate
from fewbits.runtime import cpu
from fewbits.runtime.decode import decoder_for
from fewbits.runtime.sampling import Sampling

PROMPT, NEW = 64, 24


def main() -> None:
    """Measure, print the table, then the JSON document."""
    settings = arguments()
    torch.set_num_threads(settings.threads)
    torch.set_grad_enabled(False)
    cpu.set_level(settings.level)
    bandwidth = read_bandwidth()
    print(f"{cpu.level()}, {settings.threads} threads; reading memory: {bandwidth / 1e9:.1f} GB/s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        sides, sizes = all_sides(settings, Path(folder))
        times = in_turn(sides, settings.rounds)
    ours = median(times[settings.schemes.split(",")[0]])
    print(f"{'':24s}{'tokens/s':>10s}{'MB':>8s}{'limit':>8s}{'of it':>8s}{'x ours':>8s}")
    results = []
    for name, taken in times.items():
        speed, limit = 1 / median(taken), bandwidth / sizes[name]
        print(f"{name:24s}{speed:10.2f}{sizes[name] / 1e6:8.0f}{limit:8.1f}{speed / limit:8.2f}{median(taken) / ours:8.2f}")
        results.append({"name": name, "decode_speed": speed, "bytes": sizes[name], "n": len(taken), "of_limit": speed / limit})
    document = {"machine": machine.describe(), "level": cpu.level(), "threads": settings.threads}
    print(json.dumps(document | {"read_bandwidth": bandwidth, "results": results}))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--schemes", default="uint4g64,int8")
    parser.add_argument("--float", action="store_true", help="torch's float32 too")
    parser.add_argument("--peers", default="", help="llama")
    parser.add_argument("--level", choices=cpu.library.LEVELS, help="instructions to use at most")
    return parser.parse_args()


def all_sides(settings: argparse.Namespace, folder: Path) -> tuple[dict[str, Callable[[], list[float]]], dict[str, int]]:
    """What writes NEW tokens and tells the seconds of each, and the bytes of the weights of a step."""
    sides: dict[str, Callable[[], list[float]]] = {}
    sizes: dict[str, int] = {}
    plain = llama()
    for scheme in settings.schemes.split(","):
        start = time.perf_counter()
        model = fewbits.quantize(twin(plain), {"lm_head": scheme, "*embed_tokens": scheme, "*": scheme})
        print(f"{scheme}: quantized in {time.perf_counter() - start:.1f} s", flush=True)
        cpu.prepare(model)
        name = f"{scheme}, its own step"
        sides[scheme], sides[name] = of_decoder(model), of_model(model)
        sizes[scheme] = sizes[name] = bytes_per_token(model, 4)
    if settings.float:
        sides["torch fp32"], sizes["torch fp32"] = of_model(plain), bytes_per_token(plain, 4)
    if "llama" in settings.peers.split(","):
        import cpu_peers_llama

        sizes["llama.cpp Q4_0"] = cpu_peers_llama.write(folder / "random.gguf")
        peer = cpu_peers_llama.Llama(folder / "random.gguf")
        sides["llama.cpp Q4_0"] = lambda: peer.run(PROMPT, NEW, settings.threads)
    return sides, sizes


def of_decoder(model: Any) -> Callable[[], list[float]]:
    """As `fewbits.generate` writes."""
    prompt = torch.arange(100, 100 + PROMPT)[None]

    def run() -> list[float]:
        tokens = decoder_for(model, 1, PROMPT + NEW, Sampling()).tokens(prompt, None, NEW)
        next(tokens)
        start = time.perf_counter()
        count = sum(1 for _ in tokens)
        return [(time.perf_counter() - start) / count]

    return run


def of_model(model: Any) -> Callable[[], list[float]]:
    """As transformers writes: the model's own step."""
    prompt = torch.arange(100, 100 + PROMPT)[None]

    def run() -> list[float]:
        return [generate(model, prompt, NEW).decode / (NEW - 1)]

    return run


def in_turn(sides: dict[str, Callable[[], list[float]]], rounds: int) -> dict[str, list[float]]:
    """Seconds of a token, the median of each run; the first round only warms up."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name in random.sample(list(sides), len(sides)):
            time.sleep(0.5)  # threads of another library go on looking for work for a while
            taken = median(sides[name]())
            if turn:
                times[name].append(taken)
    return times


def llama() -> Any:
    """Llama-3.2-1B's shape in float32."""
    from transformers import LlamaConfig, LlamaForCausalLM  # after fewbits, which keeps a broken torchvision out of its way

    config = LlamaConfig(
        hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8,
        head_dim=64, vocab_size=128256, max_position_embeddings=131072, tie_word_embeddings=True,
    )  # fmt: skip
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model = model.to_empty(device="cpu").eval()
    for p in model.parameters():
        p.normal_(0, 0.02) if p.dim() > 1 else p.fill_(1)
    model.tie_weights()
    rope = model.model.rotary_emb
    rope.inv_freq = 1 / 5e5 ** (torch.arange(0, 64, 2) / 64)
    return model


if __name__ == "__main__":
    main()
