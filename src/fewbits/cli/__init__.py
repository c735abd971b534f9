"""The command line: parse, call, print. What is slow to import is imported by the command that needs it."""

import sys

try:
    from fewbits.cli.main import app, main
except KeyboardInterrupt:  # before `main` can handle it
    print("error: interrupted", file=sys.stderr)
    raise SystemExit(130) from None

__all__ = ["app", "main"]
