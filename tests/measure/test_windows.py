import pytest
import torch

from fewbits.errors import FewbitsError
from fewbits.measure.windows import batches, cut

TEXT = torch.arange(100, 123)  # 23 tokens


def test_windows_begin_with_bos_and_drop_the_tail() -> None:
    pieces = cut(TEXT, "windows:6", bos=7)
    assert [w.ids.tolist() for w in pieces.windows] == [[7, *range(100 + 5 * i, 105 + 5 * i)] for i in range(4)]
    assert [w.scored for w in pieces.windows] == [5] * 4
    assert (pieces.predicted, pieces.unused, pieces.bos) == (20, 3, True)


def test_without_a_bos_windows_are_plain_and_say_so() -> None:
    pieces = cut(TEXT, "windows:6")
    assert str(pieces.protocol) == "plain:6"
    assert pieces.windows[1].ids.tolist() == list(range(106, 112))
    assert (len(pieces.windows), pieces.predicted, pieces.unused, pieces.bos) == (3, 15, 5, False)
    assert cut(TEXT, "plain:6", bos=7).windows[0].ids.tolist() == list(range(100, 106))


def test_the_published_counts() -> None:
    pieces = cut(torch.zeros(20_000, dtype=torch.int64), "windows:512", bos=0)
    assert (len(pieces.windows), pieces.predicted) == (39, 19_929)


@pytest.mark.parametrize(("length", "step"), [(8, 4), (8, 3), (8, 1), (8, 8), (5, 2), (40, 10)])
def test_a_stride_scores_each_token_once_with_what_its_window_shows(length: int, step: int) -> None:
    pieces = cut(TEXT, f"stride:{length}:{step}", bos=7)
    scored = torch.cat([w.ids[-w.scored :] for w in pieces.windows]).tolist()
    firsts = range(step, 23, step) if step == length else []  # nothing comes before the first token of such a window
    assert scored == [t for t in TEXT.tolist()[1:] if t - 100 not in firsts]
    assert not pieces.bos
    assert all(w.ids.numel() <= length for w in pieces.windows)


def test_a_stride_of_half_a_window() -> None:
    pieces = cut(TEXT, "stride:10:5")
    assert [(w.ids[0].item() - 100, w.ids.numel(), w.scored) for w in pieces.windows] == [
        (0, 10, 9),
        (5, 10, 5),
        (10, 10, 5),
        (15, 8, 3),
    ]


def test_sentences_stand_alone() -> None:
    texts = [TEXT[:3], TEXT[:0], TEXT[5:6]]
    pieces = cut(texts, "sentences", bos=7)
    assert [w.ids.tolist() for w in pieces.windows] == [[7, 100, 101, 102], [7, 105]]
    assert (pieces.predicted, pieces.unused) == (4, 0)
    bare = cut(texts, "sentences")
    assert [w.ids.tolist() for w in bare.windows] == [[100, 101, 102]]
    assert (bare.predicted, bare.unused) == (2, 1)


@pytest.mark.parametrize(
    ("tokens", "protocol", "message"),
    [
        (TEXT, "windows:25", "23 tokens do not fill one window of 24"),
        (TEXT, "sentences", "protocol 'sentences' takes a list of token tensors"),
        ([TEXT], "windows:5", "protocol 'windows:5' takes one tensor of tokens"),
        (TEXT[:1], "stride:8:4", "1 tokens are too few"),
        ([TEXT[:0]], "sentences", "none of 1 sentences has a token to predict"),
    ],
)
def test_text_that_does_not_fit_its_protocol_is_refused(tokens: torch.Tensor, protocol: str, message: str) -> None:
    with pytest.raises(FewbitsError, match=message):
        cut(tokens, protocol, bos=7)


def test_batches_hold_every_window_once_padded_at_the_end() -> None:
    pieces = cut([TEXT[:n] for n in (3, 9, 1, 5, 9)], "sentences", bos=7)
    seen = []
    for ids, numbers in batches(pieces, 2):
        assert len(numbers) <= 2
        for row, number in zip(ids, numbers, strict=True):
            window = pieces.windows[number].ids
            assert row[: len(window)].equal(window)
            assert not row[len(window) :].any()
        seen += numbers
    assert sorted(seen) == [0, 1, 2, 3, 4]


def test_the_hash_is_of_the_text_alone() -> None:
    assert cut(TEXT, "windows:6", bos=7).data == cut(TEXT.int(), "plain:4").data
    assert cut(TEXT, "plain:4").data != cut(TEXT.flip(0), "plain:4").data
    assert cut([TEXT[:4], TEXT[4:]], "sentences").data != cut([TEXT[:5], TEXT[5:]], "sentences").data
