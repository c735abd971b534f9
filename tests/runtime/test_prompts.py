"""What a prompt may be, and the line that refuses anything else."""

from collections import UserDict
from typing import Any

import numpy
import pytest
import torch

from fewbits.errors import FewbitsError
from fewbits.runtime.generate import generate
from fewbits.runtime.prompts import is_single, token_ids
from tests import tiny

CPU = torch.device("cpu")


class Letters:
    """A tokenizer of letters, with a chat template or without."""

    def __init__(self, template: str | None = None) -> None:
        self.chat_template = template

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [1] * add_special_tokens + [3 + ord(letter) % 90 for letter in text]}

    def apply_chat_template(self, messages: list[Any], *, tokenize: bool, add_generation_prompt: bool) -> str:
        assert not tokenize and add_generation_prompt
        return "".join(f"<{each['role']}>{each['content']}" for each in messages) + "<a>"

    def decode(self, ids: list[int], skip_special_tokens: bool = False) -> str:
        return "".join(chr(32 + each % 90) for each in ids)


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny.llama()


@pytest.mark.parametrize(
    "prompt",
    [
        [[5, 6, 7, 8], [5, 6]],
        {"input_ids": torch.tensor([[5, 6, 7, 8], [5, 6, 0, 0]]), "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])},
        {"input_ids": [[5, 6, 7, 8], [0, 0, 5, 6]], "attention_mask": [[1, 1, 1, 1], [0, 0, 1, 1]]},
        UserDict(input_ids=numpy.array([[5, 6, 7, 8], [5, 6, 0, 0]]), attention_mask=numpy.array([[1, 1, 1, 1], [1, 1, 0, 0]])),
        {
            "input_ids": torch.tensor([[5, 6, 7, 8], [5, 6, 9, 9]], dtype=torch.int32),
            "attention_mask": torch.tensor([[True] * 4, [True] * 2 + [False] * 2]),
        },
    ],
)
def test_padding_on_either_side_is_moved_to_the_left(model: Any, prompt: Any) -> None:
    ids, mask = token_ids(prompt, None, CPU)
    assert mask is not None and mask.tolist() == [[1, 1, 1, 1], [0, 0, 1, 1]]
    assert ids[0].tolist() == [5, 6, 7, 8] and ids[1, 2:].tolist() == [5, 6]
    made = generate(model, prompt, max_new_tokens=4, stop=())
    assert torch.equal(made[1], generate(model, [5, 6], max_new_tokens=4, stop=()))


def test_the_models_padding_token_in_a_tensor_is_padding_as_in_transformers() -> None:
    ids, mask = token_ids(torch.tensor([[0, 0, 5, 6], [7, 8, 9, 5]]), None, CPU, pad=0)
    assert mask is not None and mask.tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]
    assert token_ids(torch.tensor([[0, 0, 5, 6]]), None, CPU)[1] is None
    assert ids.tolist()[1] == [7, 8, 9, 5]


def test_a_chat_goes_through_the_template(model: Any) -> None:
    tokenizer = Letters("a template")
    chat = [{"role": "user", "content": "hi"}]
    assert token_ids(chat, tokenizer, CPU)[0].tolist() == [tokenizer("<user>hi<a>", add_special_tokens=False)["input_ids"]]
    assert isinstance(generate(model, chat, max_new_tokens=2, tokenizer=tokenizer, stop=()), str)


@pytest.mark.parametrize(
    ("prompt", "single"),
    [
        ([5, 6], True),
        ([[5, 6]], False),
        (torch.tensor([5]), True),
        ({"input_ids": [5, 6]}, True),
        ({"input_ids": [[5]]}, False),
    ],
)
def test_one_sequence_has_tokens_of_one_dimension(model: Any, prompt: Any, single: bool) -> None:
    assert is_single(prompt) == single
    assert generate(model, prompt, max_new_tokens=2, stop=()).dim() == (1 if single else 2)


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("", "no tokens"),
        ([], "no tokens"),
        ([[]], "no tokens"),
        ([[5], []], "sequence 1 has no tokens"),
        (torch.zeros(0, dtype=torch.int64), "no tokens"),
        (torch.zeros(1, 0, dtype=torch.int64), "no tokens"),
        (torch.tensor([1.0, 2.0]), "float32 values"),
        (torch.tensor([True]), "bool values"),
        (torch.zeros(1, 1, 1, dtype=torch.int64), "3 dimensions"),
        (torch.tensor(5), "0 dimensions"),
        (torch.zeros(1, 2, dtype=torch.int64, device="meta"), "without data"),
        (torch.ones(1, 2, dtype=torch.int64).to_sparse(), "sparse"),
        ([1.5], "1.5 is no token id"),
        ([True], "True is no token id"),
        ([5, None], "None is no token id"),
        ([5, "a"], "'a' is no token id"),
        (["one", "two"], "several texts"),
        ([[5], 6], "sequences of token ids, and 6 among them"),
        (5, "type int"),
        (None, "type NoneType"),
        (b"bytes", "type bytes"),
        ([96], "token 96 is outside the model's vocabulary of 96"),
        ([-1], "token -1 is outside"),
        ([2**64], "outside every vocabulary"),
        (torch.tensor([[5, 1000]]), "token 1000 is outside"),
        ("a\udcffb", "not valid Unicode: .udcff at character 1"),
        ({"attention_mask": [1]}, "no input_ids"),
        ({}, "no input_ids"),
        ({"input_ids": [[5, 6]], "attention_mask": [[1]]}, "attention_mask of (1, 1) for input_ids of (1, 2)"),
        ({"input_ids": [[5, 6]], "attention_mask": [[0, 0]]}, "padding alone"),
        ({"input_ids": [[5, 6]], "attention_mask": [[1, 7]]}, "other than 0 and 1"),
        ({"input_ids": [[5, 6], [7]], "attention_mask": [[1, 1], [1]]}, "different lengths"),
        ({"input_ids": [[0.5]]}, "no token id"),
        ([{"role": "user", "content": "hi"}], "no chat template"),
        ([{"text": "hi"}], "a chat is a list"),
    ],
)
def test_what_is_no_prompt_is_refused_in_one_line(model: Any, prompt: Any, says: str) -> None:
    with pytest.raises(FewbitsError) as caught:
        generate(model, prompt, max_new_tokens=2, tokenizer=Letters() if prompt != "" else _Silent())
    assert says.replace(".udcff", "\\udcff") in str(caught.value)
    assert "\n" not in str(caught.value)


class _Silent(Letters):
    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": []}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens 0"),
        ({"max_new_tokens": -1}, "max_new_tokens -1"),
        ({"max_new_tokens": 2**31}, "max_new_tokens"),
        ({"max_new_tokens": 10**5000}, "max_new_tokens"),
        ({"max_new_tokens": 1.5}, "max_new_tokens 1.5"),
        ({"max_new_tokens": True}, "max_new_tokens True"),
        ({"max_new_tokens": None}, "max_new_tokens None"),
        ({"max_new_tokens": float("nan")}, "max_new_tokens nan"),
        ({"temperature": -1}, "temperature -1"),
        ({"temperature": float("nan")}, "temperature nan"),
        ({"temperature": float("inf")}, "temperature inf"),
        ({"temperature": 1e-30}, "temperature 1e-30"),
        ({"temperature": 1e300}, "temperature 1e+300"),
        ({"temperature": "1"}, "temperature '1'"),
        ({"temperature": 10**400}, "temperature"),
        ({"temperature": None}, "temperature None"),
        ({"top_k": -1}, "top_k -1"),
        ({"top_k": 1.5}, "top_k 1.5"),
        ({"top_k": float("nan")}, "top_k nan"),
        ({"top_k": 2**70}, "top_k"),
        ({"top_p": 0}, "top_p 0"),
        ({"top_p": 1.1}, "top_p 1.1"),
        ({"top_p": float("nan")}, "top_p nan"),
        ({"top_p": "x"}, "top_p 'x'"),
        ({"seed": -1}, "seed -1"),
        ({"seed": 2**64}, "seed"),
        ({"seed": 0.5}, "seed 0.5"),
        ({"stop": "</s>"}, "stop '</s>'"),
        ({"stop": [1.5]}, "stop 1.5"),
        ({"stop": [-1]}, "stop -1"),
        ({"stop": 5}, "stop 5"),
        ({"stop": [2**70]}, "stop"),
    ],
)
def test_settings_out_of_their_range_are_refused_in_one_line(model: Any, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(FewbitsError) as caught:
        generate(model, [5, 6], **settings)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("settings", [{"temperature": 1e-6}, {"temperature": 1e6}, {"top_k": 10**9}, {"seed": 2**63 - 1}])
def test_settings_at_the_edge_of_their_range_work(model: Any, settings: dict[str, Any]) -> None:
    assert len(generate(model, [5, 6], max_new_tokens=2, stop=(), **({"temperature": 1.0} | settings))) == 2
