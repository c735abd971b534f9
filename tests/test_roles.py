"""Which layers are kept unless a rule names them."""

from torch import nn

from fewbits.roles import kept_by_default
from tests import tiny


def test_llama_keeps_its_embedding_and_head() -> None:
    assert kept_by_default(tiny.llama()) == {"model.embed_tokens": "embedding", "lm_head": "output head"}


def test_gpt2_keeps_both_embeddings_and_the_head() -> None:
    assert kept_by_default(tiny.gpt2()) == {
        "transformer.wte": "embedding",
        "transformer.wpe": "embedding",
        "lm_head": "output head",
    }


def test_classifiers_keep_their_last_layer_and_not_the_patches() -> None:
    assert kept_by_default(tiny.vit()) == {"classifier": "output head"}
    assert kept_by_default(tiny.mobilenet()) == {"classifier": "output head"}


def test_phi3_gate_up_proj_is_an_ordinary_layer() -> None:
    assert set(kept_by_default(tiny.phi3())) == {"model.embed_tokens", "lm_head"}


def test_a_plain_network_keeps_nothing() -> None:
    assert kept_by_default(tiny.cnn()) == {}


def test_heads_and_routers_by_name() -> None:
    model = nn.ModuleDict(
        {
            "head": nn.Linear(4, 4),
            "score": nn.Linear(4, 4),
            "block": nn.ModuleDict({"gate": nn.Linear(4, 2), "gate_proj": nn.Linear(4, 4), "router": nn.Linear(4, 2)}),
            "neck": nn.Linear(4, 4),
            "classifier": nn.Conv2d(4, 4, 1),
            "heads": nn.Linear(4, 4),
        }
    )
    assert kept_by_default(model) == {
        "head": "output head",
        "score": "output head",
        "block.gate": "router",
        "block.router": "router",
        "classifier": "output head",
    }


def test_a_classifier_that_is_a_block_of_layers_is_not_one_layer() -> None:
    """Torchvision's `classifier` is a Sequential, whose parts have no telling names: they are the body's."""
    model = nn.ModuleDict({"classifier": nn.Sequential(nn.Dropout(), nn.Linear(4, 4))})
    assert kept_by_default(model) == {}


def test_a_model_may_name_its_head_itself() -> None:
    class Timm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.fc, self.aux = nn.Linear(4, 4), nn.Linear(4, 2), nn.Linear(4, 2)

        def get_classifier(self) -> tuple[nn.Module, nn.Module]:
            return self.fc, self.aux

    assert kept_by_default(Timm()) == {"fc": "output head", "aux": "output head"}


def test_a_layer_that_stands_in_two_places_is_kept_in_both() -> None:
    model = nn.Module()
    model.shared = nn.Embedding(4, 4)
    model.encoder = nn.Module()
    model.encoder.embed_tokens = model.shared
    assert kept_by_default(model) == {"shared": "embedding", "encoder.embed_tokens": "embedding"}
