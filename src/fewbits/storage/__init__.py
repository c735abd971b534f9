"""Saved folders: written, checked and read."""
