"""What trained models keep at few bits, beside what the hqq library leaves them at the same bytes.

    python benchmarks/quality.py MODELS DATA [NAME...]

MODELS is a folder of models, DATA of `peps.txt` and `cifar10_test.npz`. The library's figures: hqq 0.2.8.post1, groups of 64
along the inputs, scale and zero in 16 bits, float32 arithmetic; language models on the first 20,000 tokens in windows of 512,
the vision transformer on the first 3,000 images, its linear layers only. The last line is one JSON document.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import fewbits
from fewbits import data, models
from fewbits.measure import image_quality, text_quality
from fewbits.measure.divergence import Remembered

# model: bits: perplexity (accuracy for the last), KL in nats
LIBRARY = {
    "llama-8m": {4: (33.2947, 0.03282), 3: (37.1356, 0.152), 2: (99.8222, 1.161)},
    "gpt2-9m": {4: (42.2868, 0.02292), 3: (46.0419, 0.1012), 2: (88.9103, 0.7644)},
    "vit-cifar10": {4: (0.817, 0.006647), 3: (0.8207, 0.02659), 2: (0.793, 0.1324)},
    "llama-28m": {4: (25.2142, 0.07661), 3: (30.3809, 0.3496), 2: (130.8766, 2.211)},
}


def main(folder: Path, texts: Path, names: list[str]) -> None:
    """One line a model and width."""
    rows = []
    for name in names:
        reference = models.load(folder / name)
        remembered = Remembered(reference.model.float())
        for bits, (theirs, their_kl) in LIBRARY[name].items():
            quantized = models.load(folder / name)
            skip = ("*patch_embeddings*",) if name.startswith("vit") else ()
            fewbits.quantize(quantized.model.float(), f"hqq:uint{bits}g64", skip=skip)
            if reference.task == "causal-lm":
                text = data.load_text(str(texts / "peps.txt"), tokenizer=reference.tokenizer, max_tokens=20_000)
                found = text_quality(quantized.model, text.ids, bos=text.bos, reference=remembered)
            else:
                path = str(texts / "cifar10_test.npz")
                images = data.load_images(path, processor=reference.processor, labels=reference.labels)
                images = replace(images, images=images.images[:3000], labels=images.labels[:3000])  # what the library saw
                found = image_quality(quantized.model, images.batches(), reference=remembered)
            ours = found["ppl" if "ppl" in found else "accuracy"].value
            kl = found["kl"].value
            print(
                f"{name:12s} {bits} bits  {ours:9.4f} (library {theirs:9.4f})   KL {kl:.5f} (library {their_kl:.5f})",
                flush=True,
            )
            rows.append({"model": name, "bits": bits, "value": ours, "kl": kl, "library": theirs, "library_kl": their_kl})
    print(json.dumps({"results": rows}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] or list(LIBRARY))
