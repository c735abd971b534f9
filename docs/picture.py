"""Draws the README's picture, docs/demo.png, from a run of fewbits.

fewbits eval demo --max-tokens 2500 --measure size --measure kl --json \
        $(for b in 8 6 5 4 3 2; do echo --scheme hqq:uint${b}g64 --scheme rtn:uint${b}g64; done) --scheme nf4g64 \
        | tail -n 1 > runs/demo.json
python docs/picture.py runs/demo.json          (needs matplotlib)
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt

COLOURS = {"hqq": "#1a7f5a", "mse": "#7a5ac8", "rtn": "#c8553d", "nf": "#2f6fb5"}
NAMES = {"hqq": "hqq (searched scale and zero)", "mse": "mse", "rtn": "rtn (round to nearest)", "nf": "nf4 (normal float)"}


def main(path: str) -> None:
    """One curve a method: bytes across, divergence from the original up, both the lower the better."""
    rows = json.loads(Path(path).read_text())["results"]
    whole = next(r for r in rows if r["plan"] == "as it is")["measures"]["size"]["value"] / 2**20
    figure, axes = plt.subplots(figsize=(8, 4.2), dpi=160)
    for method, colour in COLOURS.items():
        points = sorted(
            (r["measures"]["size"]["value"] / 2**20, r["measures"]["kl"]["value"], r["plan"])
            for r in rows
            if r["plan"].startswith(method)
        )
        if not points:
            continue
        axes.plot([p[0] for p in points], [p[1] for p in points], "o-", color=colour, lw=1.5, ms=5, label=NAMES[method])
        if method in ("hqq", "nf"):
            for size, kl, plan in points:
                label = plan.removeprefix("hqq:uint").replace("g64", " bits") if method == "hqq" else "nf4"
                below = method == "hqq"
                axes.annotate(
                    label, (size, kl), xytext=(0, -14 if below else 8), textcoords="offset points", ha="center", fontsize=8
                )
    axes.set_yscale("log")
    axes.margins(y=0.1)  # room for the last label
    axes.set_xlabel(f"size, MiB of stored tensors (the original in 16 bits: {whole:.1f} MiB)")
    axes.set_ylabel("KL divergence from the original, nats a token")
    axes.set_title("What bits cost: the demo model, groups of 64, embeddings kept", loc="left", fontsize=10)
    axes.grid(alpha=0.25, which="both")
    axes.legend(frameon=False, fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(Path(__file__).with_name("demo.png"))


if __name__ == "__main__":
    main(sys.argv[1])
