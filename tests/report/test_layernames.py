from fewbits.report.layernames import OTHER, places


def kinds(*names: str) -> list[tuple[str, int | None]]:
    return [(place.kind, place.block) for place in places(names)]


def test_the_last_part_where_it_tells_kinds_apart() -> None:
    assert kinds("model.layers.3.self_attn.q_proj", "model.layers.11.mlp.up_proj") == [("q_proj", 3), ("up_proj", 11)]


def test_more_parts_where_needed() -> None:
    names = ("h.0.attn.c_attn", "h.0.attn.c_proj", "h.0.mlp.c_proj", "h.1.mlp.c_proj")
    assert kinds(*names) == [("attn.c_attn", 0), ("attn.c_proj", 0), ("mlp.c_proj", 0), ("mlp.c_proj", 1)]


def test_what_all_end_in_is_left_out() -> None:
    names = ("layer.2.expand_1x1.convolution", "layer.2.conv_3x3.convolution")
    assert kinds(*names) == [("expand_1x1", 2), ("conv_3x3", 2)]


def test_outside_the_blocks() -> None:
    assert kinds("conv_stem.first", "layer.0.a", "features.0") == [(OTHER, None), ("a", 0), (OTHER, None)]


def test_one_kind_alone() -> None:
    assert kinds("blocks.0.fc", "blocks.1.fc") == [("fc", 0), ("fc", 1)]
