"""How a command ends from outside: by a signal, or because nothing can be written to standard output any more."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

_NAMES = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
if hasattr(signal, "SIGHUP"):
    _NAMES[signal.SIGHUP] = "the terminal was closed"
_PATIENCE = 5.0  # seconds in which cleaning up is not disturbed by another signal


class Stopped(BaseException):
    """A signal asked the process to end. No library catches this class, so that the stack unwinds."""


class Signals:
    """Turns the first signal into Stopped, wherever the main thread is."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._since = 0.0
        self._before: dict[int, Any] = {}
        self._hook = sys.unraisablehook

    def watch(self) -> None:
        """Begin. A signal that is ignored, as nohup does, stays ignored."""
        for number in _NAMES:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                self._before[number] = signal.signal(number, self._stop)
        sys.unraisablehook = self._swallowed

    def end(self) -> None:
        """Go back to what was there before; after a signal, to the system's own handling, which prints nothing."""
        sys.unraisablehook = self._hook
        for number, handler in self._before.items():
            signal.signal(number, handler if self.number is None else signal.SIG_DFL)

    @property
    def code(self) -> int:
        """The exit code of a process that ended by the signal, as shells count."""
        return 128 + (self.number or 0)

    @property
    def what(self) -> str:
        return _NAMES.get(signal.Signals(self.number), "stopped") if self.number else ""

    def _stop(self, number: int, _: FrameType | None) -> None:
        if self.number is None:
            self.number, self._since = number, time.monotonic()
        elif time.monotonic() - self._since < _PATIENCE:
            return
        raise Stopped

    def _swallowed(self, unraisable: Any) -> None:
        """Raise again what was raised in a callback or destructor, which drop exceptions: imports have such callbacks."""
        if not isinstance(unraisable.exc_value, Stopped):
            self._hook(unraisable)
        elif hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, self._again)
            signal.setitimer(signal.ITIMER_REAL, 0.01)

    def _again(self, *_: object) -> None:
        raise Stopped


@contextmanager
def stoppable(fail: Callable[[str, int], NoReturn]) -> Iterator[None]:
    """Run a command; end it in one line, with the exit code that shells expect, if a signal stops it.

    Args:
        fail: Prints a message and ends the process with an exit code.
    """
    signals = Signals()
    signals.watch()
    try:
        yield
    except BaseException:
        if signals.number is None:
            raise
    finally:
        signals.end()
    if signals.number is not None:
        drop_output()
        fail(signals.what, signals.code)


def flush(fail: Callable[[str, int], NoReturn]) -> None:
    """Write what is left to standard output: the interpreter would only say that it could not."""
    if sys.stdout is None or sys.stdout.closed:
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop_output()
        sys.exit(141)
    except OSError as error:
        drop_output()
        fail(f"standard output: cannot be written: {error.strerror or error}", 2)


def drop_output() -> None:
    """Send what is still to be written to standard output nowhere."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):  # it has no file, as in tests, or is closed
        return
