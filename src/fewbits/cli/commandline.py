"""The command that is running, quoted for a shell, so that a page or record can say how to repeat it."""

import shlex
import sys


def command_line() -> str:
    """`fewbits` with every argument that was given. Pasted into a POSIX shell it runs the same command again."""
    return shlex.join(["fewbits", *sys.argv[1:]])
