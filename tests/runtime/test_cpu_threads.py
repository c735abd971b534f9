"""Threads: absurd numbers, a system that starts no more of them, forks. In processes of their own: some ended in a crash."""

import subprocess
import sys

import pytest

from fewbits.runtime import cpu

pytestmark = pytest.mark.skipif(not cpu.available(), reason=str(cpu.why_not()))

BEGIN = """
import os, resource, threading, torch, fewbits
from torch import nn
torch.set_grad_enabled(False)
torch.set_num_threads(2)
model = fewbits.quantize(nn.Sequential(nn.Linear(512, 2048)), "uint4g64")
x = torch.randn(16, 512)
y = model(x)
"""
HUGE = """
torch.set_num_threads(100000)
assert torch.equal(model(x), y)
"""
NO_MORE = """
if os.getuid() == 0:
    os.setuid(54321)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
torch.set_num_threads(16)
for _ in range(3):
    assert torch.equal(model(x), y)
"""
FORK = """
torch.set_num_threads(4)
assert torch.equal(model(x), y)  # OpenMP has its threads now, and the child has none of them
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(model(x), y) and torch.equal(model(x), y) else 1)
assert os.waitpid(child, 0)[1] == 0
"""
MANY = """
torch.set_num_threads(3)
wrong = []
def work():
    torch.set_grad_enabled(False)
    for _ in range(30):
        if not torch.equal(model(x), y):
            wrong.append(1)
threads = [threading.Thread(target=work) for _ in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
assert not wrong
"""


@pytest.mark.parametrize("then", [HUGE, NO_MORE, FORK, MANY], ids=["huge", "no more", "fork", "many callers"])
def test_threads(then: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", f"{BEGIN}{then}\nprint('fine')"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "fine\n", f"exit {done.returncode}: {done.stderr[-2000:]}"


def test_the_command_line_takes_no_absurd_number() -> None:
    for threads in ("100000", "0", "-1", "2147483648"):
        command = [sys.executable, "-m", "fewbits", "bench", "--threads", threads]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 2 and "--threads" in done.stderr and "Traceback" not in done.stderr
