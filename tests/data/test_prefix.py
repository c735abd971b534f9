"""The first tokens of a text are those of the whole text, and the rest of it is not tokenized."""

import random
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers import models as kinds

from fewbits import models
from fewbits.data.prefix import first_tokens
from fewbits.data.text import read, tokenize
from tests.shared import shared_path

_LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@cache
def _demo() -> str:
    return read("demo")[0]


@cache
def _strange() -> str:
    """Words of random letters of many alphabets, runs of one letter and of blanks, digits, emoji, and lines without a blank."""
    rng = random.Random(1)
    parts = [
        "é",
        "ß",
        "字",
        "漢字",
        "한글",
        "ab",
        "the",
        "a",
        "Z",
        "0",
        "1234",
        "\U0001f600",
        "'s",
        "<s>",
        "</s>",
        "▁",
        "ﬁ",
        "e\u0301",
    ]
    gaps = [" ", " ", " ", "\n", "\n\n", "  ", "        ", "\t", " \n ", "\u3000", ""]
    return "".join(rng.choice(parts) * rng.choice([1, 1, 2, 3, 40]) + rng.choice(gaps) for _ in range(60_000))


def _bpe(tokenizer: Tokenizer) -> Tokenizer:
    sample = _demo()[:60_000].split("\n")
    tokenizer.train_from_iterator(
        sample, trainers.BpeTrainer(vocab_size=800, special_tokens=["<unk>", "<s>"], show_progress=False)
    )
    return tokenizer


def _gpt2() -> Tokenizer:
    made = Tokenizer(kinds.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return _bpe(made)


def _llama3() -> Tokenizer:
    made = Tokenizer(kinds.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_LLAMA3), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    return _bpe(made)


def _llama2() -> Tokenizer:
    """No pre-tokenizer when used: the whole text is one word."""
    made = Tokenizer(kinds.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    _bpe(made)
    made.pre_tokenizer = None
    made.decoder = decoders.Fuse()
    return made


def _unigram(split: bool) -> Tokenizer:
    made = Tokenizer(kinds.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=600, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    made.train_from_iterator(_demo()[:60_000].split("\n"), trainer)
    if not split:
        made.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    return made


def _bert() -> Tokenizer:
    made = Tokenizer(kinds.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=600, special_tokens=["[UNK]"], show_progress=False)
    made.train_from_iterator(_demo()[:60_000].split("\n"), trainer)
    return made


_MAKERS: dict[str, Callable[[], Tokenizer]] = {
    "gpt2": _gpt2,
    "llama3": _llama3,
    "llama2": _llama2,
    "unigram": lambda: _unigram(True),
    "unigram-whole": lambda: _unigram(False),
    "bert": _bert,
}


@pytest.mark.parametrize("kind", _MAKERS)
@pytest.mark.parametrize("text", [_demo, _strange], ids=["prose", "strange"])
def test_the_ids_are_those_of_the_whole(kind: str, text: Callable[[], str]) -> None:
    tokenizer, whole = _MAKERS[kind](), text()[:250_000]

    def ids_of(part: str) -> list[int]:
        return tokenizer.encode(part, add_special_tokens=False).ids

    want = ids_of(whole)
    for count in (2, 17, 600, 3001, len(want) - 1, len(want), len(want) + 7):
        assert first_tokens(ids_of, whole, count) == want[:count], count


@pytest.mark.parametrize("name", ["demo", *("gpt2-9m", "llama-8m", "llama-28m")])
def test_tokenizers_of_models(name: str) -> None:
    folder = name if name == "demo" else shared_path(f"models/{name}")
    tokenizer: Any = models.load(folder).tokenizer
    for text in (_demo()[:150_000], _strange()[:100_000]):
        whole = tokenize(tokenizer, text)
        for count in (5, 1000, 5000):
            assert tokenize(tokenizer, text, most=count).equal(whole[:count])


def test_the_rest_is_not_tokenized() -> None:
    seen: list[int] = []

    def ids_of(part: str) -> list[int]:
        seen.append(len(part))
        return [zlib.crc32(word.encode()) for word in part.split()]

    text = "some words of a text\n" * 1_000_000
    assert first_tokens(ids_of, text, 600) == [zlib.crc32(word.encode()) for word in text[:9000].split()][:600]
    assert sum(seen) < 60_000


def test_a_tokenizer_that_looks_far_ahead_is_given_the_whole() -> None:
    """Its ids depend on the length of what it is given, so that no prefix can be trusted."""
    text = "some words of a text\n" * 10_000

    def ids_of(part: str) -> list[int]:
        return [len(part)] * len(part.split())

    assert first_tokens(ids_of, text, 5) == [len(text)] * 5


def test_a_text_without_words_is_tokenized_whole() -> None:
    """Pieces of three letters from the end on: all of them move when the text grows."""
    text = "a" * 100_000

    def ids_of(part: str) -> list[int]:
        return [len(part) % 3, *[3] * (len(part) // 3)]

    assert first_tokens(ids_of, text, 4) == [1, 3, 3, 3]
