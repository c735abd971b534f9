"""Work in a process that is killed with -9 after a while."""

import os
import signal
import time
from collections.abc import Callable


def killed(work: Callable[[], object], after: float) -> bool:
    """Whether the process, forked from this one, was killed before its end."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)
