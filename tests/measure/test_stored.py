import pytest
import torch
from torch import nn

from fewbits.measure.stored import part_of, plain_tensors, stored_tensors


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.layers.0.self_attn.q_proj", "model.layers.*.self_attn"),
        ("model.layers.11.mlp.experts.3.up_proj", "model.layers.*.mlp"),
        ("model.embed_tokens", "model.embed_tokens"),
        ("blocks.3", "blocks.*"),
        ("0.weight", "*.weight"),
        ("cls_token", "cls_token"),
    ],
)
def test_parts_are_globs(name: str, part: str) -> None:
    assert part_of(name) == part


def test_what_is_not_saved_is_not_stored() -> None:
    model = nn.Linear(2, 3)
    model.register_buffer("cache", torch.zeros(9), persistent=False)
    assert [(t.name, t.nbytes, t.is_parameter) for t in stored_tensors(model)] == [("weight", 24, True), ("bias", 12, True)]


def test_what_is_no_tensor_is_not_stored() -> None:
    assert list(plain_tensors({"a": 1})) == []


def test_a_wrapper_is_the_tensors_within() -> None:
    from torch.testing._internal.two_tensor import TwoTensor

    a, b = torch.zeros(3), torch.zeros(3, dtype=torch.float64)
    assert [t.dtype for t in plain_tensors(TwoTensor(a, b.float()))] == [torch.float32, torch.float32]
