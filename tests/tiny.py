"""Tiny random models, made in milliseconds: one of each architecture, a plain convolutional network, and tied weights.

Widths are multiples of 32, so that `g32` divides every layer inside the blocks of the language models and of the ViT.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

VOCABULARY = 96
_TOKENS: dict[str, Any] = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
_DECODER: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}


def llama(*, tied: bool = True) -> nn.Module:
    """Grouped-query attention; the head is tied to the embedding, as in Llama-3.2-1B."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**_DECODER, **_TOKENS, num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=tied)
    return _made(lambda: LlamaForCausalLM(config))


def phi3() -> nn.Module:
    """Fused `qkv_proj` and `gate_up_proj`; the head is its own."""
    from transformers import Phi3Config, Phi3ForCausalLM

    return _made(lambda: Phi3ForCausalLM(Phi3Config(**_DECODER, **_TOKENS, num_key_value_heads=2, max_position_embeddings=64)))


def gpt2() -> nn.Module:
    """`Conv1D` layers, whose weights are stored inputs first."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return _made(lambda: GPT2LMHeadModel(GPT2Config(n_embd=64, n_layer=2, n_head=4, n_positions=64, **_TOKENS)))


def vit() -> nn.Module:
    """A vision transformer for images of 16 x 16."""
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=16,
        patch_size=4,
        num_labels=10,
    )
    return _made(lambda: ViTForImageClassification(config))


def mobilenet() -> nn.Module:
    """Depthwise convolutions, batch norms, and padding that the model works out from its layers' attributes."""
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    return _made(
        lambda: MobileNetV2ForImageClassification(MobileNetV2Config(image_size=32, depth_multiplier=0.35, num_labels=10))
    )


def cnn() -> nn.Module:
    """Plain, depthwise and grouped convolutions and a linear layer, in no framework's clothes."""
    return _made(
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16, bias=False),
            nn.Conv2d(16, 32, 1, groups=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(128, 10),
        )
    )


class Tied(nn.Module):
    """An embedding, two linear layers that share a weight but not their biases, and a head tied to the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 32)
        self.first = nn.Linear(32, 32)
        self.second = nn.Linear(32, 32)
        self.second.weight = self.first.weight
        self.lm_head = nn.Linear(32, VOCABULARY, bias=False)
        self.lm_head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.lm_head(self.second(torch.relu(self.first(self.embed(ids)))))


def tied() -> nn.Module:
    """See `Tied`."""
    return _made(Tied)


def tokens(batch: int = 2, length: int = 8) -> Tensor:
    """Token ids for the language models here."""
    return torch.randint(3, VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(1))


def images(size: int, batch: int = 2) -> Tensor:
    """Random images, channels first."""
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "llama": (llama, tokens),
    "phi3": (phi3, tokens),
    "gpt2": (gpt2, tokens),
    "vit": (vit, lambda: images(16)),
    "mobilenet": (mobilenet, lambda: images(32)),
    "cnn": (cnn, lambda: images(16)),
    "tied": (tied, tokens),
}


def output(model: nn.Module, inputs: Tensor) -> Tensor:
    """Logits of any model here."""
    with torch.no_grad():
        answer = model(inputs)
    return answer if isinstance(answer, Tensor) else answer.logits


def _made(make: Callable[[], nn.Module]) -> nn.Module:
    """The same model every time, whatever was drawn before; its batch norms as though they had seen data."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -0.1, 0.1)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
        for name, parameter in model.named_parameters():
            if parameter.ndim < 2:  # biases and norms are made of zeros and ones, which would hide a mistake
                nn.init.normal_(parameter, mean=float("norm" in name), std=0.1)
    return model.eval()
