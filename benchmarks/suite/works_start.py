"""Import, opening, the command line, and memory."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

from bench import Row, row
from hosts import plain_environment
from measure import Pace, Timer, clocked, often, started
from worlds import peer_root, small_peer, small_world

from bunter import Butler


def command(python: str | Path, *arguments: str) -> Timer:
    """Return the timer of a Python process; its bytecode is compiled at the first time."""
    return started([str(python), *arguments], plain_environment())


def once(row: Row) -> Pace:
    """Return the pace for processes: each turn starts one."""
    return Pace(rounds=row.sized(11, 3), span=0.0)


NOTHING = command(sys.executable, "-c", "pass")
BUNTER = "from bunter.cli import main; main()"
"""What the installed command does."""


@row("import", "import bunter, a whole process")
def importing(row: Row) -> None:
    peer = row.run.guest("peer")
    row.compare(
        {
            "bunter": command(sys.executable, "-c", "import bunter"),
            "bunter, from bunter import Butler": command(sys.executable, "-c", "from bunter import Butler"),
            "peer": peer and command(peer.python, "-c", "from lsst.daf.butler import Butler"),
            "floor": NOTHING,
        },
        once(row),
    )
    row.at_most("CPU of the process", row.chosen("bunter"), 60e-3)
    row.at_most("CPU with the Butler", row.chosen("bunter, from bunter import Butler"), 60e-3)
    row.notes.append("'import bunter' loads little before a name is used; the peer's is with its Butler")


@row("open", "open a repository")
def opening(row: Row) -> None:
    world = row.run.world(small_world)
    peer = row.run.guest("peer") if row.run.world(small_peer) else None

    def ours() -> None:
        Butler(world.root).close()

    row.ours = ours
    row.compare({"bunter": clocked(often(ours)), "peer": peer and peer.timer("open")})
    row.at_most("CPU", row.chosen("bunter"), 10e-3)


@row("help", "bunter --help")
def helping(row: Row) -> None:
    peer = row.run.guest("peer")
    butler = peer and peer.python.parent / "butler"
    row.compare(
        {
            "bunter": command(sys.executable, "-c", BUNTER, "--help"),
            "peer": peer and command(peer.python, str(butler), "--help"),
            "floor": NOTHING,
        },
        once(row),
    )
    row.at_most("CPU of the process", row.chosen("bunter"), 120e-3)


@row("ls", "bunter ls, a hundred datasets")
def listing(row: Row) -> None:
    world = row.run.world(small_world)
    peer = row.run.guest("peer") if row.run.world(small_peer) else None
    butler = peer and peer.python.parent / "butler"
    row.compare(
        {
            "bunter": command(sys.executable, "-c", BUNTER, "ls", "-r", str(world.root), "summary", "--limit", "100"),
            "peer": peer
            and command(
                peer.python, str(butler), "query-datasets", str(peer_root(row.run)), "summary", "--limit", "100"
            ),
            "floor": NOTHING,
        },
        once(row),
    )
    row.at_most("CPU of the process", row.chosen("bunter"), 200e-3)


_PEAK = """
import re
with open("/proc/self/status") as file:
    print(re.search(r"VmHWM:\\s+(\\d+)", file.read())[1])
"""


def peak(python: str | Path, code: str) -> float:
    """Return the peak memory (MiB) of a process that runs some code."""
    run = [str(python), "-c", textwrap.dedent(code) + _PEAK]
    # The first one compiles, which takes memory of its own.
    subprocess.run(run, env=plain_environment(), capture_output=True, check=True)
    done = subprocess.run(run, env=plain_environment(), capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) / 1024


@row("memory", "peak memory after open and one small get")
def memory(row: Row) -> None:
    world: Path = row.run.world(small_world).root
    if not Path("/proc/self/status").exists():
        row.notes.append("skipped: peak memory is read from /proc, which this system does not have")
        return
    code = f"""
    from bunter import Butler
    butler = Butler({json.dumps(str(world))})
    butler.get("summary", visit=7, ccd=3)
    """
    row.values["bunter"] = (peak(sys.executable, code), "MiB")
    if row.run.world(small_peer):
        theirs = f"""
        from lsst.daf.butler import Butler
        butler = Butler.from_config({json.dumps(str(peer_root(row.run)))}, collections="run")
        butler.get("summary", instrument="Cam", visit=7, detector=3)
        """
        row.values["peer"] = (peak(row.run.guest("peer").python, theirs), "MiB")
    row.values["floor"] = (peak(sys.executable, ""), "MiB")
    row.at_most("peak", row.values["bunter"][0], 40, "MiB")
    row.notes.append("VmHWM of a process of its own; floor: python that does nothing")
