import hashlib

import torch

from fewbits.measure.digest import BatchHash, hash_tokens


def test_tokens_hash_as_their_64_bit_integers() -> None:
    expected = hashlib.sha256(b"".join(n.to_bytes(8, "little") for n in (5, 0, 300))).hexdigest()
    assert hash_tokens(torch.tensor([5, 0, 300])) == f"sha256:{expected}"
    assert hash_tokens(torch.tensor([5, 0, 300], dtype=torch.int32)) == f"sha256:{expected}"


def of(images: torch.Tensor, labels: torch.Tensor | None, size: int) -> str:
    digest = BatchHash()
    for start in range(0, len(images), size):
        batch = {"images": images[start : start + size]}
        digest.update(**(batch if labels is None else batch | {"labels": labels[start : start + size]}))
    return str(digest)


def test_batches_hash_by_content_not_by_cut() -> None:
    images, labels = torch.rand(7, 3, 2, 2), torch.arange(7)
    assert of(images, labels, 7) == of(images, labels, 2)
    assert of(images, labels, 7) != of(images, None, 7)
    assert of(images, labels, 7) != of(images, labels.flip(0), 7)
    assert of(images, labels, 7) != of(images.double(), labels, 7)
    assert of(images, labels, 7) != of(images.view(7, 3, 4, 1), labels, 7)
