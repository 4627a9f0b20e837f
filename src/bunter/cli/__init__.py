"""The command ``bunter``: a user of the public API, nothing more. Nothing is imported before it is needed."""

from __future__ import annotations


def main() -> None:
    """Run the command ``bunter`` and leave Python with its exit code.

    0: done; 1: ``exists`` says no, ``verify`` found errors; 2: a mistake of the user, told in one message on stderr.
    """
    from .commands import bunter

    bunter()
