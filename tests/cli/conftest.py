"""How the tests of the commands call them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bunter.cli.commands import bunter


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Return what runs a command in an empty folder; an error that is no exit code is raised."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BUNTER_REPO", raising=False)

    def call(*words: str) -> Result:
        result = CliRunner().invoke(bunter, words)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call
