"""Random models that are small enough to be checked by hand."""

import torch
from torch import Tensor, nn


class TinyLM(nn.Module):
    """A causal language model: each place sees the mean of what came before it. Its forward returns a plain tensor."""

    def __init__(self, vocabulary: int = 13, width: int = 8, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed = nn.Embedding(vocabulary, width)
        self.up = nn.Linear(width, 2 * width)
        self.lm_head = nn.Linear(2 * width, vocabulary)
        with torch.no_grad():
            self.lm_head.weight.mul_(4)  # clear opinions, so that a misplaced token shows

    def forward(self, ids: Tensor) -> Tensor:
        seen = self.embed(ids).cumsum(dim=1)
        mean = seen / torch.arange(1, ids.shape[1] + 1, device=ids.device)[:, None]
        return self.lm_head(torch.tanh(self.up(mean + self.embed(ids))))


def tiny_classifier(classes: int = 4, seed: int = 0) -> nn.Module:
    """Images of 3x4x4 to classes, with a batch norm whose eval and train modes differ."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(32, classes))


def tiny_llama(seed: int = 0, **changes: object) -> nn.Module:
    """Two layers of Llama with a tied head."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    settings: dict[str, object] = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "tie_word_embeddings": True,
        "eos_token_id": None,
    }
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(LlamaConfig(**(settings | changes))).eval()
