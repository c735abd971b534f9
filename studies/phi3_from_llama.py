"""A small trained model of Phi-3's architecture: the weights of a Llama, whose arithmetic is the same, in Phi-3's fused layers.

    python studies/phi3_from_llama.py LLAMA_FOLDER PHI3_FOLDER

q, k and v become `qkv_proj`, gate and up `gate_up_proj`; the head is its own, the floats are float32, as in the study of
Phi-3-mini. The logits of both are compared before anything is saved.
"""

import shutil
import sys
from pathlib import Path

import torch

from fewbits import models
from fewbits.errors import FewbitsError

FILES = ("tokenizer.json", "tokenizer_config.json")
MOST = 1e-3  # of difference between logits, which float32 leaves: the matrices are multiplied in other pieces


def main(source: Path, target: Path) -> None:
    """Convert, check, save."""
    from transformers import Phi3Config, Phi3ForCausalLM

    if target.exists():
        raise FewbitsError(f"{target}: is there already")
    llama = models.load(source, dtype="float32").model
    old = llama.config.to_dict()
    same = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size")
    more = ("rms_norm_eps", "max_position_embeddings", "bos_token_id", "eos_token_id", "pad_token_id", "rope_parameters")
    config = Phi3Config(
        **{name: old[name] for name in (*same, *more)},
        original_max_position_embeddings=old["max_position_embeddings"],
        tie_word_embeddings=False,
    )
    phi3 = Phi3ForCausalLM(config).eval()
    phi3.load_state_dict(fused({name: tensor.float() for name, tensor in llama.state_dict().items()}))
    ids = torch.randint(config.vocab_size, (2, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        off = (phi3(ids).logits - llama(ids).logits).abs().max().item()
    if off > MOST:
        raise FewbitsError(f"{source}: its logits differ by {off:.2g} in Phi-3's layers: it computes something else")
    phi3.save_pretrained(target)
    for name in FILES:
        if (source / name).is_file():
            shutil.copy(source / name, target / name)
    print(f"{target}: {sum(p.numel() for p in phi3.parameters()):,} parameters; logits within {off:.1e} of the Llama's")


def fused(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A Llama's state dict under Phi-3's names."""
    made = {name: tensor.clone() for name, tensor in state.items() if not any(part in name for part in _PARTS)}
    made.setdefault("lm_head.weight", state["model.embed_tokens.weight"].clone())
    for name, tensor in state.items():
        if name.endswith("q_proj.weight"):
            made[name.replace("q_proj", "qkv_proj")] = torch.cat([state[name.replace("q_proj", f"{x}_proj")] for x in "qkv"])
        elif name.endswith("gate_proj.weight"):
            made[name.replace("gate_proj", "gate_up_proj")] = torch.cat([tensor, state[name.replace("gate_proj", "up_proj")]])
    return made


_PARTS = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")

if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except (FewbitsError, IndexError) as error:
        sys.exit(f"error: {error}\n{__doc__}" if isinstance(error, IndexError) else f"error: {error}")
