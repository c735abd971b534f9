"""How fast a whole prompt is read: Llama-3.2-1B's shape with random weights, all its tokens at once, beside the same model in bf16.

    python benchmarks/gpu_prompt.py [--tokens 256,2048] [--plans uint4g64+uint4g64,_head_too] [--rounds 15]

Each model reads the prompt twice over: as `fewbits generate` does, and by transformers' own forward with the same kernels; keys and
values are kept, logits made for the last token alone. Models take turns, round by round; each time is the median of the rounds, by
events. The last line is JSON.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from gpu_decode import PLANS, llama

import fewbits
from fewbits.runtime.prepare import prepare_model
from fewbits.runtime.step import StepEngine
from fewbits.runtime.structure import recognise


def seconds(call: Callable[[], object]) -> float:
    """Of one call."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    with torch.inference_mode():
        start.record()
        call()
        end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1e3


def readers(name: str, longest: int) -> dict[str, Callable[[torch.Tensor], object]]:
    """What reads a prompt with a plan's model."""
    model = fewbits.quantize(llama(), PLANS[name]) if PLANS[name] else llama()
    prepare_model(model)
    engine = StepEngine(recognise(model), max_len=longest)
    return {
        name: engine.read,
        f"{name}, transformers": lambda ids: model(input_ids=ids, use_cache=True, logits_to_keep=1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", default="256,2048")
    parser.add_argument("--plans", default="uint4g64", help="of gpu_decode.py, with + between them and _ for a blank")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.manual_seed(0)
    names = ["bf16", *options.plans.replace("_", " ").split("+")]
    lengths = [int(n) for n in options.tokens.split(",")]
    calls = {label: call for name in names for label, call in readers(name, max(lengths) + 64).items()}
    results = []
    for tokens in lengths:
        ids = torch.randint(0, 128256, (1, tokens), device="cuda")
        times: dict[str, list[float]] = {label: [] for label in calls}
        for turn in range(options.rounds + 3):  # the first ones compile and warm up
            for label, call in calls.items():
                taken = seconds(partial(call, ids))
                if turn >= 3:
                    times[label].append(taken)
        for label, all_taken in times.items():
            taken = median(all_taken)
            ratio = median(times["bf16"]) / taken
            print(
                f"{tokens:5} tokens  {label:24} {taken * 1e3:7.2f} ms  {tokens / taken:8.0f} tokens/s  {ratio:.2f} x bf16",
                flush=True,
            )
            results.append({"tokens": tokens, "reader": label, "seconds": taken, "of_bf16": ratio})
    print(json.dumps({"device": torch.cuda.get_device_name(), "results": results}))


if __name__ == "__main__":
    main()
