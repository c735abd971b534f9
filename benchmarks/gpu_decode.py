"""Tokens each second of Llama-3.2-1B's shape with random weights: one sequence, a prompt of 64, 256 greedy steps.

    python benchmarks/gpu_decode.py [--rounds 3] [--peers hqq,bf16,torchao] [--mode max-autotune-no-cudagraphs]

The limit comes first: the bytes of the weights that a step reads, over the machine's copy bandwidth. Plans take turns, round by
round; `bf16 graph` is transformers' own step in one CUDA graph, peers are the same after torch.compile: in bf16, with hqq's 4 bits
(groups of 64, gemlite's kernels), with torchao's int4 (groups of 64), all with the head left as it is. The last line is JSON.
"""

import argparse
import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from gpu_timing import copy_bandwidth
from transformers import LlamaConfig, LlamaForCausalLM

import fewbits
from fewbits.layers import QuantizedLayer
from fewbits.runtime.decode import Decoder, GraphDecoder, decoder_for
from fewbits.runtime.sampling import Sampling

PROMPT, STEPS = 64, 256
PLANS: dict[str, dict[str, str]] = {
    "bf16 graph": {},
    "bf16": {},
    "int8, head int8": {"*": "int8", "lm_head": "int8"},
    "uint4g64": {"*": "uint4g64"},
    "uint4g64, head int8": {"*": "uint4g64", "lm_head": "int8"},
    "uint4g64, head too": {"*": "uint4g64", "lm_head": "uint4g64"},
}


def llama() -> Any:
    """Llama-3.2-1B's shape, its head untied."""
    rope = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    config = LlamaConfig(
        hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8,
        head_dim=64, vocab_size=128256, rope_parameters=rope | {"original_max_position_embeddings": 8192},
        max_position_embeddings=131072, tie_word_embeddings=False,
    )  # fmt: skip
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = LlamaForCausalLM(config).eval()
    torch.set_default_dtype(torch.float32)
    return model


class CompiledDecoder(GraphDecoder):
    """transformers' step compiled by torch, then recorded as a CUDA graph."""

    def __init__(self, model: Any, sampling: Sampling, mode: str) -> None:
        super().__init__(model, sampling)
        self.compiled = torch.compile(model.forward, mode=mode, dynamic=False)

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Any) -> torch.Tensor:
        forward = self.compiled if ids.shape[1] == 1 else self.model.forward
        return forward(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
            **{self.cache_name: cache},
        ).logits


def hqq() -> Any:
    """4 bits in groups of 64 by hqq, gemlite's kernels."""
    from hqq.core.quantize import BaseQuantizeConfig
    from hqq.models.hf.base import AutoHQQHFModel
    from hqq.utils.patching import prepare_for_inference

    model = llama()
    config = BaseQuantizeConfig(nbits=4, group_size=64, axis=1)
    AutoHQQHFModel.quantize_model(model, quant_config=config, compute_dtype=torch.bfloat16, device="cuda")
    prepare_for_inference(model, backend="gemlite")
    return model


def torchao() -> Any:
    """4 bits in groups of 64 by torchao, PyTorch's kernels."""
    from torchao.quantization import Int4WeightOnlyConfig, quantize_

    model = llama()
    config = Int4WeightOnlyConfig(group_size=64, int4_packing_format="tile_packed_to_4d")
    quantize_(model.model, config)
    return model


PEERS: dict[str, Callable[[], Any]] = {"bf16": llama, "hqq": hqq, "torchao": torchao}


def bytes_read(model: Any) -> int:
    """Bytes of all linear layers and the head."""
    total = 0
    for module in model.modules():
        if isinstance(module, QuantizedLayer):
            total += module.quantized.nbytes
        elif isinstance(module, torch.nn.Linear):
            total += module.weight.nbytes
    return total


def decode_seconds(decoder: Decoder, ids: torch.Tensor) -> float:
    """Seconds of the steps after the first token, which ends the prompt's own work."""
    pieces = decoder.tokens(ids, None, STEPS + 1)
    next(pieces)
    if isinstance(decoder, GraphDecoder):
        next(pieces)  # records the graph
    torch.cuda.synchronize()
    start, made = time.perf_counter(), 0
    for piece in pieces:
        made += piece.shape[1]
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / made


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default="", help="bf16, hqq, torchao")
    parser.add_argument("--mode", default="max-autotune-no-cudagraphs", help="of torch.compile, for peers")
    parser.add_argument("--plans", default=",".join(PLANS).replace(", ", "+"), help="names of plans, with + for ', '")
    options = parser.parse_args()
    rounds, peers = options.rounds, [p for p in options.peers.split(",") if p]
    torch.manual_seed(0)
    limit = copy_bandwidth()
    print(f"{torch.cuda.get_device_name()}: copies {limit / 1e12:.2f} TB/s")
    ids = torch.randint(0, 128256, (1, PROMPT), device="cuda")
    decoders, limits = {}, {}
    for name in (p.replace("+", ", ") for p in options.plans.split(",")):
        plan = PLANS[name]
        model = fewbits.quantize(llama(), plan) if plan else llama()
        limits[name] = limit / bytes_read(model)
        greedy = Sampling()
        graph = name.endswith("graph")
        decoders[name] = GraphDecoder(model, greedy) if graph else decoder_for(model, 1, PROMPT + STEPS + 1, greedy)
        print(f"{name:22} limit {limits[name]:6.0f} tokens/s", flush=True)
    for peer in peers:
        decoders[f"{peer}, compiled"] = CompiledDecoder(PEERS[peer](), Sampling(), options.mode)
    times: dict[str, list[float]] = {name: [] for name in decoders}
    for turn in range(rounds + 1):  # the first turn compiles and is not counted
        for name, decoder in decoders.items():
            seconds = decode_seconds(decoder, ids)
            if turn:
                times[name].append(seconds)
    results = {}
    best_peer = max((1 / median(v) for k, v in times.items() if k.endswith("compiled")), default=0.0)
    for name, seconds in times.items():
        speed = 1 / median(seconds)
        results[name] = {"tokens_per_second": speed, "limit": limits.get(name), "decoder": type(decoders[name]).__name__}
        share = f"{speed / limits[name]:4.0%} of the limit" if name in limits else " " * 17
        print(f"{name:22} {speed:7.0f} tokens/s  {share}", f"  {speed / best_peer:.2f} x the best peer" if best_peer else "")
    print(json.dumps({"device": torch.cuda.get_device_name(), "copy_bandwidth": limit, "results": results}))


if __name__ == "__main__":
    main()
