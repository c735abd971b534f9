"""The model of `demo-vision`: a small convolutional network for scikit-learn's 8 x 8 digits, as transformers knows models.

Being a transformers model, it is saved, loaded and measured as any other image classifier. Its sizes are such that groups of
64 divide all layers but two: the first convolution and the depthwise one have 9 inputs for each output.
"""

from functools import cache
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention

MODEL_TYPE = "fewbits-digits"


class DigitsConfig(PreTrainedConfig):
    """Sizes of the network."""

    model_type = MODEL_TYPE

    def __init__(self, image_size: int = 8, num_channels: int = 1, hidden_size: int = 64, **others: Any) -> None:
        self.image_size = image_size
        self.num_channels = num_channels
        self.hidden_size = hidden_size
        super().__init__(**others)


class DigitsForImageClassification(PreTrainedModel):
    """A 3x3 convolution, a depthwise and a pointwise one, another 3x3, a hidden layer and the classifier: 59,722 weights."""

    config_class = DigitsConfig
    main_input_name = "pixel_values"

    def __init__(self, config: DigitsConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.stem = _convolution(config.num_channels, width, 3)
        self.depthwise = _convolution(width, width, 3, groups=width)
        self.pointwise = _convolution(width, width, 1)
        self.mixing = _convolution(width, width, 3)
        self.pool = nn.MaxPool2d(2)
        self.hidden = nn.Linear(width * (config.image_size // 4) ** 2, width)
        self.classifier = nn.Linear(width, cast(int, config.num_labels))
        self.post_init()

    def forward(
        self, pixel_values: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"] | None = None, **others: Any
    ) -> ImageClassifierOutputWithNoAttention:
        """Logits [b, classes], and the cross-entropy where labels are given."""
        x = self.pool(self.pointwise(self.depthwise(self.stem(pixel_values))))
        x = self.pool(self.mixing(x)).flatten(1)
        logits = self.classifier(torch.relu(self.hidden(x)))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return ImageClassifierOutputWithNoAttention(loss=loss, logits=logits)


@cache
def register() -> None:
    """Make transformers' Auto classes know the model. Does nothing the second time."""
    AutoConfig.register(MODEL_TYPE, DigitsConfig)
    AutoModelForImageClassification.register(DigitsConfig, DigitsForImageClassification)


def _convolution(inputs: int, outputs: int, size: int, groups: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU; the image keeps its size."""
    convolution = nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


register()
