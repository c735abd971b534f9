"""Train the network of `demo-vision` and write it where the package keeps it. Takes 5 seconds on one core.

python -m fewbits.models.train_demo_vision [FOLDER]
"""

import sys
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from fewbits.data.digits import digits
from fewbits.data.prepare import preparation_from
from fewbits.data.processor import ImageProcessor
from fewbits.models.digits import DigitsConfig, DigitsForImageClassification, register
from fewbits.models.names import DEMOS
from fewbits.models.quiet import quietly

SEED = 0
EPOCHS = 15
BATCH = 64
RATE = 2e-3
MOST = 16  # the value of a black pixel


def main(folder: Path) -> None:
    """Train, tell the accuracy on the test split, and write the model and its processor."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # the layers are so small that a second thread slows them, threefold on a busy machine
    register()
    images, labels = digits("train")
    processor = processor_for(images)
    prepare = preparation_from(processor.settings())
    names = {i: str(i) for i in range(10)}
    model = DigitsForImageClassification(DigitsConfig(id2label=names, label2id={name: i for i, name in names.items()}))
    train(model, prepare(images), labels)
    test_images, test_labels = digits("test")
    right = int((model(prepare(test_images)).logits.argmax(-1) == test_labels).sum())
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters:,} parameters, {right} of {len(test_labels)} right: {right / len(test_labels):.2%}")
    with quietly():
        model.save_pretrained(folder)
    processor.save_pretrained(folder)


def processor_for(images: Tensor) -> ImageProcessor:
    """Pixels are scaled from 0..16 to 0..1; mean and deviation are those of the training split."""
    scaled = images.double() / MOST
    return ImageProcessor(
        config={
            "image_processor_type": "ViTImageProcessor",
            "do_resize": True,
            "size": {"height": images.shape[1], "width": images.shape[2]},
            "resample": 2,
            "do_rescale": True,
            "rescale_factor": 1 / MOST,
            "do_normalize": True,
            "image_mean": [round(scaled.mean().item(), 4)],
            "image_std": [round(scaled.std().item(), 4)],
        }
    )


def train(model: nn.Module, pixels: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"]) -> None:
    """Adam with a rate that falls to 0, on images moved by up to a pixel; ends in eval mode."""
    steps = EPOCHS * (len(labels) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    model.train()
    for _ in range(EPOCHS):
        order = torch.randperm(len(labels))
        for at in order.split(BATCH)[: len(labels) // BATCH]:
            optimizer.zero_grad()
            model(moved(pixels[at]), labels=labels[at]).loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()


def moved(pixels: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """A batch moved by -1, 0 or 1 pixel each way; what comes in is the background."""
    down, right = torch.randint(0, 3, (2,)).tolist()
    height, width = pixels.shape[-2:]
    padded = nn.functional.pad(pixels, (1, 1, 1, 1), value=pixels.min().item())
    return padded[..., down : down + height, right : right + width]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / DEMOS["demo-vision"])
