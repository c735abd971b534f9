from tests.cli.running import Runner, refused


def test_sizes_of_the_demo(fewbits: Runner) -> None:
    ended = fewbits("size", "demo", "uint4g64", "uint3g64", "nf4g64/q8", "--json")
    assert ended.code == 0
    plain, four, three, nf4 = ended.document["results"]
    weights, scales = 5_898_240, 5_898_240 // 64
    kept = plain["measures"]["size"]["value"] - 2 * weights
    assert four["measures"]["size"]["value"] == kept + weights * 4 // 8 + scales * 4
    assert three["measures"]["size"]["value"] == kept + weights * 3 // 8 + scales * 4
    assert nf4["measures"]["size"]["value"] == kept + weights * 4 // 8 + scales + 8 * sum(blocks())
    assert (plain["plan"], four["plan"], nf4["plan"]) == ("as it is", "rtn:uint4g64", "nf4g64/q8")
    assert round(four["coverage"], 3) == 0.737


def blocks() -> list[int]:
    """Blocks of 256 scales in each linear layer of the demo: 8 blocks of q, k, v, o, gate, up, down."""
    shapes = [(256, 256), (128, 256), (128, 256), (256, 256), (704, 256), (704, 256), (256, 704)]
    return [-(-rows * cols // 64 // 256) for rows, cols in shapes] * 8


def test_rules_and_skip(fewbits: Runner) -> None:
    ended = fewbits("size", "demo", "--rule", "*attn*=int8", "--rule", "*=keep", "--json")
    assert ended.document["results"][1]["plan"] == "*attn*=rtn:int8 *=keep"
    ended = fewbits("size", "demo", "int8", "--skip", "*mlp*", "--json")
    attention = 8 * (2 * 256 * 256 + 2 * 128 * 256)
    assert ended.document["results"][1]["measures"]["size"]["parts"]["quantized"] == attention


def test_what_a_user_can_get_wrong(fewbits: Runner) -> None:
    refused(fewbits("size", "demo", "uint9g64"), "uint", "9 bits")
    refused(fewbits("size", "demo", "quint4"), "quint", "unknown")
    refused(fewbits("size", "demo", "gptx:uint4"), "unknown method 'gptx'", "rtn")
    refused(fewbits("size", "demo", "uint4g48"), "model.layers.0.self_attn.q_proj", "48", "256", "g")
    refused(fewbits("size", "demo", "uint4", "--rule", "nonsense=uint4"), "nonsense", "matches no layer")
    refused(fewbits("size", "demo", "uint4", "--rule", "uint4"), "GLOB=SCHEME")
    refused(fewbits("size", "demo", "uint4g48", "--on-misfit", "maybe"), "maybe", "channel")
    refused(fewbits("size", "demo", "--recipe", "nowhere.yaml"), "nowhere.yaml")


def test_on_misfit(fewbits: Runner) -> None:
    ended = fewbits("size", "demo", "uint4g512", "--on-misfit", "channel", "--json")
    assert ended.code == 0 and ended.document["results"][1]["coverage"] > 0.7
