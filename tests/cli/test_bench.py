import pytest

from tests.cli.running import Runner, refused

pytestmark = pytest.mark.usefixtures("quick")


def test_kernels_and_decoding_beside_the_limit(fewbits: Runner) -> None:
    ended = fewbits(
        "bench", "--shape", "64x128", "--scheme", "hqq:uint4g64", "--batch", 1, "--batch", 3, "--repeats", 1, "--json"
    )
    assert ended.code == 0, ended.err
    document = ended.document
    assert [(t["format"], t["batch"]) for t in document["layers"]] == [
        ("float32", 1), ("uint4g64", 1), ("float32", 3), ("uint4g64", 3),
    ]  # fmt: skip
    assert document["layers"][1]["nbytes"] == 64 * 128 // 2 + 64 * 2 * 4
    plain, four = document["results"]
    for row in (plain, four):
        share = row["measures"]["decode_speed"]["value"] * row["bytes_per_token"] / document["limits"]["bandwidth"]
        assert row["share_of_bandwidth"] == pytest.approx(share)
    assert four["bytes_per_token"] < plain["bytes_per_token"]
    assert ended.out.index("reads memory") < ended.out.index("64 x 128") < ended.out.index("write tok/s")


def test_what_a_user_can_get_wrong(fewbits: Runner) -> None:
    refused(fewbits("bench", "--shape", "64by64"), "64by64", "2048x8192")
    refused(fewbits("bench", "--shape", "64x96", "--scheme", "uint4g64"), "64", "96")
    refused(fewbits("bench", "--shape", "64x64", "--scheme", "uint4g64", "--model", "demo-vision"), "demo-vision")
