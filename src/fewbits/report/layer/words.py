"""What is seen in a layer, said in plain words with its figures; and the bits of a group, written so that one can follow them."""

from fewbits.formats import Format
from fewbits.inspect.values import ErrorView, GroupBits, LayerView, StoredView, WeightsView
from fewbits.inspect.weights import OUTLIER
from fewbits.report.cells import short

POINT = "\u00b7"  # between two codes


def about_weights(weights: WeightsView) -> str:
    """Spread, tails and channels that stand out."""
    tails = (
        "heavier tails than a normal distribution's 3" if weights.kurtosis > 3.5 else "about the tails of a normal distribution"
    )
    tails = "lighter tails than a normal distribution's 3" if weights.kurtosis < 2.5 else tails
    said = (
        f"{weights.params:,} weights with a standard deviation of {short(weights.std)}; the farthest lies {weights.reach:.1f} of"
        f" them from the mean. Their kurtosis is {weights.kurtosis:.2f}: {tails}."
    )
    return f"{said} {_channels(weights)}"


def _channels(weights: WeightsView) -> str:
    if not weights.input_count and not weights.output_count:
        return f"No channel stands out: none has a largest weight {OUTLIER:g} times that of the median channel."
    parts = []
    for what, count, ones in (
        ("input", weights.input_count, weights.inputs),
        ("output", weights.output_count, weights.outputs),
    ):
        if count:
            parts.append(f"{count} {what}{'s' if count > 1 else ''} (first of them {ones[0].index}, {ones[0].times:.1f} times)")
    return f"Channels whose largest weight is {OUTLIER:g} times that of the median channel: {' and '.join(parts)}."


def about_stored(stored: StoredView) -> str:
    """What a weight costs, and how well its codes are used."""
    unused = sum(1 for count in stored.used if not count)
    scales = f"one scale for each {stored.group_size:,} weights, {stored.groups:,} in all"
    said = (
        f"{stored.scheme} stores a code of {stored.bits} bits a weight and {scales}: {stored.nbytes:,} bytes, "
        f"{stored.bits_per_weight:.3f} bits a weight. The codes carry {stored.entropy:.2f} bits of information each"
    )
    return f"{said}; {unused} of {len(stored.used)} are never used." if unused else f"{said}; all {len(stored.used)} are used."


def about_error(error: ErrorView) -> str:
    """How large the error is, and what makes it."""
    clipped = f"{100 * error.clipped:.2g} % of the weights lie beyond the ends of their group's grid and are clipped to it"
    return (
        f"The error is {100 * error.relative:.3g} % of the norm of the weights ({error.sqnr:.1f} dB), "
        f"{short(error.rms)} on average (root mean square) and {short(error.worst)} at most. "
        f"{clipped if error.clipped else 'No weight lies beyond the ends of its grid'}."
    )


def about_grid(view: LayerView) -> str:
    """How the grid lies over the weights: the sentence of the histogram."""
    if view.stored is None:
        return about_weights(view.weights).partition(". ")[0] + "."
    grid, std = view.stored.grid, view.weights.std
    inside = f"its {len(grid)} values reach from {short(grid[0])} to {short(grid[-1])}"
    spread = f", {(grid[-1] - grid[0]) / std:.1f} standard deviations" if std else ""
    return (
        f"A group of middling scale: {inside}{spread}; all weights together reach from {short(view.weights.low)} to"
        f" {short(view.weights.high)}. Each group has a grid of its own."
    )


def about_group(group: GroupBits) -> str:
    """Where a group lies."""
    (row, col), last = group.at[0], group.at[-1]
    shown = f"here the first {len(group.at)}, to row {last[0]}, column {last[1]}"
    return f"{group.why}: {group.size:,} weights from row {row}, column {col}; {shown}"


def bit_lines(group: GroupBits, bits: int) -> list[str]:
    """The bytes of a group's first codes: hexadecimal, and in bits with a point where one code ends and the next begins.

    In a byte the lowest bit is the rightmost; codes follow one another from there.
    """
    if not group.packed:
        return [
            f"code {code} begins at bit {at % 8} of byte {at // 8}" for code, at in zip(group.codes, group.bits_at, strict=True)
        ]
    begins = set(group.bits_at) | {group.bits_at[-1] + bits}
    lines = []
    for n, byte in enumerate(group.packed):
        low = (group.first_byte + n) * 8
        text = ""
        for bit in range(7, -1, -1):
            text += str(byte >> bit & 1)
            text += POINT if bit and low + bit in begins else ""
        lines.append(f"byte {group.first_byte + n:<7d} {byte:02x}  {text}")
    return lines


def decode_line(group: GroupBits) -> str:
    """How a code becomes a weight, with the group's own numbers."""
    code, value = group.codes[0], group.values[0]
    if group.zero is None:
        return f"codebook[{code}] x scale {short(group.scale)} = {short(value)}"
    return f"(code {code} - zero {group.zero:.4g}) x scale {short(group.scale)} = {short(value)}"


def stored_numbers(group: GroupBits, meta: str) -> str:
    """Scale and zero point and the bytes that hold them, lowest first."""
    scale = f"scale {short(group.scale)}" + (f" (/{meta}: bytes {group.scale_bytes.hex(' ')})" if group.scale_bytes else "")
    if group.zero is None:
        return scale
    zero = f"zero {group.zero:.4g}" + (f" (bytes {group.zero_bytes.hex(' ')})" if group.zero_bytes else "")
    return f"{scale}, {zero}"


def group_lines(group: GroupBits, format: Format) -> list[str]:
    """Scale and zero point, the bytes, and the first weight worked out."""
    return [stored_numbers(group, format.meta), *bit_lines(group, format.bits), f"first weight: {decode_line(group)}"]
