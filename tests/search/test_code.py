from fewbits.search.code import code_digest


def test_the_same_code_has_the_same_hash() -> None:
    first = code_digest()
    code_digest.cache_clear()
    assert first == code_digest() and first.startswith("sha256:") and len(first) == 71
