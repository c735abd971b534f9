"""Values that JSON of a folder may hold where another one is expected."""

from random import Random
from typing import Any

EVIL = "evil/repository"
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 2**31, 2**31 - 1, -(2**31), 2**40, 2**63, 2**64, -(2**63), 10**30, 10**300,
    0.0, 0.5, -0.5, 1e308, float("nan"), float("inf"), float("-inf"), 4.0,
    "", " ", "1", "-1", "nan", "auto", "none", "cuda:0", "meta", "float16", "bfloat16", "float8_e4m3fn", "load", "int8", "fewbits",
    "\x00", "\x1b[31mred", "a\nb\r\nc", "\u202egnp", "\ud800", "é" * 50, "x" * 5_000_000,
    "../x", "../../etc/passwd", "/etc/passwd", "/dev/zero", "file:///etc/passwd", "https://127.0.0.1:9/x", EVIL,
    f"hf-hub:{EVIL}", f"local-dir:/tmp/{EVIL}", f"{EVIL}--code.Class", "evil.Class", "os.system", "rtn:int4", "hqq:uint8g64z/f32",
    "{{ ''.__class__ }}", "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    [], {}, [[]], [None], [0], ["a"], {"": 0}, {"a": {"a": {"a": {}}}}, [2**31] * 3, list(range(100)), {str(i): i for i in range(100)},
)  # fmt: skip


def value(random: Random) -> Any:
    """One of the values, or a random number, or something deep."""
    kind = random.randrange(12)
    if kind == 0:
        return random.randint(-(2**70), 2**70)
    if kind == 1:
        return random.randint(-4, 100)
    if kind == 2:
        return deep(random.choice((3, 40, 60, 400)))
    return random.choice(VALUES)


def deep(levels: int) -> Any:
    """Lists and mappings inside each other."""
    made: Any = 1
    for level in range(levels):
        made = [made] if level % 2 else {"a": made}
    return made
