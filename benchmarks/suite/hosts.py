"""Environments of their own for the peer and for tools that Bunter does not need, and processes in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

from measure import Timer

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".bench"
PEER = ("lsst-daf-butler==30.2026.4300", "numpy", "astropy", "pyarrow")
TOOLS = ("polars", "fitsio")


class MissingError(Exception):
    """Something to compare with cannot be had here; says why."""


def cache() -> Path:
    """Return the folder in the checkout that keeps environments and results; git ignores it."""
    CACHE.mkdir(exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n")
    return CACHE


def environment(name: str, packages: tuple[str, ...]) -> Path:
    """Return the Python of an environment with `packages`, which is made if it is not there.

    Raises
    ------
    MissingError
        If pip cannot install them.
    """
    folder = cache() / f"{name}-{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / "python"
    done = folder / "installed"
    if done.is_file() and done.read_text() == "\n".join(packages):
        return python
    print(f"installing {', '.join(packages)} into {folder.relative_to(HERE.parents[1])} ...", flush=True)
    try:
        venv.create(folder, with_pip=True, clear=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise MissingError(f"no environment could be made: {error}") from error
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    installed = subprocess.run(command, capture_output=True, text=True)
    if installed.returncode:
        last = (installed.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise MissingError(f"{', '.join(packages)} cannot be installed: {last}")
    done.write_text("\n".join(packages))
    return python


def plain_environment() -> dict[str, str]:
    """Return the environment variables for processes that are measured: compiled bytecode, kept in the cache."""
    chosen = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**chosen, "PYTHONPYCACHEPREFIX": str(cache() / "bytecode")}


class Guest:
    """A process in another environment that does works and measures itself.

    Parameters
    ----------
    name : str
        Of the environment.
    packages : tuple of str
        What is installed there.
    """

    def __init__(self, name: str, packages: tuple[str, ...]) -> None:
        self.name = name
        self.python = environment(name, packages)
        self._process = subprocess.Popen(
            [str(self.python), str(HERE / "guest.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=plain_environment(),
        )

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: the process ended")
        reply = json.loads(line)
        if "error" in reply:
            raise RuntimeError(f"{self.name}: {reply['error']}")
        return reply["result"]

    def call(self, module: str, function: str, **arguments: Any) -> Any:
        """Call a function of a module of works over there."""
        return self._ask({"module": module, "call": function, "arguments": arguments})

    def timer(self, work: str) -> Timer:
        """Return the timer of a work over there."""

        def timer(count: int) -> tuple[float, float]:
            cpu, wall = self._ask({"time": work, "count": count})
            return cpu, wall

        return timer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def versions(python: Path, packages: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of packages in an environment."""
    code = (
        "import importlib.metadata as m, json, sys\n"
        "def of(n):\n"
        "    try: return m.version(n)\n"
        "    except m.PackageNotFoundError: return None\n"
        "print(json.dumps({n: of(n) for n in sys.argv[1:]}))"
    )
    done = subprocess.run([str(python), "-c", code, *packages], capture_output=True, text=True, check=True)
    return {name: version for name, version in json.loads(done.stdout).items() if version}
