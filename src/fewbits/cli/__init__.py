"""The command line: parse, call, print. What is slow to import is imported by the command that needs it."""

from fewbits.cli.main import app, main

__all__ = ["app", "main"]
