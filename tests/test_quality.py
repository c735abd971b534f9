"""What the trained models keep at 4, 3 and 2 bits, beside what the hqq library leaves them at the same bytes.

The library's figures: hqq 0.2.8.post1, groups of 64 along the inputs, scale and zero in 16 bits, fp32 arithmetic; language
models on the first 20,000 tokens of the test text in windows of 512, the transformer on the first 3,000 test images.
"""

from dataclasses import replace

import pytest

import fewbits
from fewbits import data, models
from fewbits.measure import image_quality, text_quality
from fewbits.measure.divergence import Remembered
from fewbits.models import Loaded
from tests.shared import shared_path

# bits: perplexity, KL in nats; `benchmarks/quality.py` has the other models
LLAMA_8M = {4: (33.2947, 0.03282), 3: (37.1356, 0.152), 2: (99.8222, 1.161)}
VIT_2BITS = (0.793, 0.1324)  # accuracy, KL


def original(name: str) -> Loaded:
    loaded = models.load(str(shared_path(f"models/{name}")))
    loaded.model.float()
    return loaded


@pytest.mark.slow
def test_a_language_model_keeps_more_than_with_the_library() -> None:
    reference = original("llama-8m")
    remembered = Remembered(reference.model)
    text = data.load_text(str(shared_path("data/peps.txt")), tokenizer=reference.tokenizer, max_tokens=20_000)
    for bits, (ppl, kl) in LLAMA_8M.items():
        quantized = original("llama-8m")
        fewbits.quantize(quantized.model, f"hqq:uint{bits}g64")
        found = text_quality(quantized.model, text.ids, bos=text.bos, reference=remembered)
        assert found["ppl"].n == 19_929
        assert found["ppl"].value <= ppl
        assert found["kl"].value <= kl


@pytest.mark.slow
def test_a_vision_transformer_keeps_more_than_with_the_library() -> None:
    reference, quantized = original("vit-cifar10"), original("vit-cifar10")
    fewbits.quantize(quantized.model, "hqq:uint2g64", skip=("*patch_embeddings*",))
    images = data.load_images(str(shared_path("data/cifar10_test.npz")), processor=reference.processor, labels=reference.labels)
    images = replace(images, images=images.images[:3000], labels=images.labels[:3000])  # what the library was measured on
    found = image_quality(quantized.model, images.batches(), reference=reference.model)
    accuracy, kl = VIT_2BITS
    assert found["kl"].value <= kl
    assert found["accuracy"].value >= accuracy
