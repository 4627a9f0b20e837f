"""Repairs beside writers that are killed: ``python benchmarks/faults/verify_repair.py --n 100``.

Some processes put, replace, delete, ingest and purge in one repository, and are killed at random; meanwhile it is
verified and repaired again and again. Nothing that was acknowledged may go, no verification may find an error, and at
the end nothing is left over.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

POLICY = """
keys: {visit: int, writer: int}
datasets:
  a: {python: dict, storage: Json, template: "a/{writer:d}/{visit:d}.json"}
  b: {python: dict, storage: Json, template: "b/{writer:d}-{visit:d}.json"}
  pair: {composite: {a: a, b: b}}
  raw: {python: dict, storage: Json, template: "raw/{writer:d}/{visit:d}.json"}
"""
VISITS = 20


def write(root: str, writer: int) -> None:
    """Put, replace, delete, ingest and purge until killed; say on stdout what was done, after it is done."""
    from bunter import Butler

    with Butler(outputs=root, durability="fast") as butler:
        while True:
            visit, n = random.randrange(VISITS), random.randrange(10**9)
            name = random.choice(("a", "b", "pair", "raw"))
            value = {"a": {"n": n}, "b": {"n": n}} if name == "pair" else {"n": n}
            what = random.random()
            # What is begun may be visible if the process is killed before it can say so.
            print(json.dumps(["begins", name, visit, value]), flush=True)
            if name == "raw":
                source = Path(root).parent / f"sources/{writer}/raw/{writer}/{visit}.json"
                source.parent.mkdir(parents=True, exist_ok=True)
                source.write_text(json.dumps(value))
                mode = random.choice(("copy", "hardlink", "symlink"))
                source = source.rename(source.with_name(f"{n}-{visit}.json")) if mode != "copy" else source
                butler.ingest(name, str(source), data_id={"visit": visit, "writer": writer}, mode=mode,
                              on_exists="replace", scan="none", template="x/{visit}")  # fmt: skip
            elif what < 0.1 and name != "pair" and butler.exists(name, visit=visit, writer=writer):
                print(json.dumps(["deletes", name, visit, None]), flush=True)
                butler.delete(name, visit=visit, writer=writer, force=True)
                value = None
            elif what < 0.15:
                butler.purge()
                continue
            else:
                butler.put(value, name, visit=visit, writer=writer, replace=True)
            print(json.dumps(["done", name, visit, value]), flush=True)


class Writer:
    """One writer after the other, each killed, and what may be there then."""

    def __init__(self, root: Path, number: int) -> None:
        self.root, self.number, self.lives = root, number, 0
        self.may_be: dict[tuple[str, int], list[object]] = {}
        self._start()

    def _start(self) -> None:
        self.lives += 1
        self.log: IO[str] = open(self.root.parent / f"log-{self.number}-{self.lives}", "w+")  # noqa: SIM115
        command = [sys.executable, __file__, "--writer", str(self.number), "--root", str(self.root)]
        self.process = subprocess.Popen(command, stdout=self.log)

    def has_begun(self) -> bool:
        """Tell whether it is at work."""
        return os.fstat(self.log.fileno()).st_size > 0

    def kill(self, again: bool) -> None:
        """Kill it, take what it said, and start the next."""
        if self.process.poll() is not None:
            raise SystemExit(f"a writer ended by itself with {self.process.returncode}")
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.seek(0)
        for line in self.log.read().splitlines():
            what, name, visit, value = json.loads(line)
            for key, part in self._parts(name, visit, value):
                if what == "begins":
                    self.may_be.setdefault(key, [None]).append(part)
                elif what == "deletes":
                    self.may_be.setdefault(key, []).append(None)
                else:
                    self.may_be[key] = [part]
        self.log.close()
        if again:
            self._start()

    @staticmethod
    def _parts(name: str, visit: int, value: object) -> list[tuple[tuple[str, int], object]]:
        if name != "pair":
            return [((name, visit), value)]
        return [((part, visit), value[part]) for part in ("a", "b")] if isinstance(value, dict) else []


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=100, help="kills")
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--writer", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--root", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.writer is not None:
        write(options.root, options.writer)

    from bunter import Butler, RepositoryArgs, verify

    began = time.perf_counter()
    errors: list[str] = []
    verified = repaired = checked = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "repo"
        Butler(outputs=RepositoryArgs(root, policy=POLICY)).close()
        writers = [Writer(root, number) for number in range(options.processes)]
        kills, at = 0, time.perf_counter()
        while kills < options.n:
            report = verify(root, read=True, repair=bool(verified % 2), trust_paths=[folder])
            verified += 1
            repaired += sum(f.repaired and f.kind == "leftover" for f in report.findings)
            allowed = ("draft being written", "leftover", "no checksum", "pin in the trash")
            errors += [str(f) for f in report.findings if f.kind not in allowed]
            # Who has not begun yet is not worth a kill.
            ready = [writer for writer in writers if writer.has_begun()]
            if ready and time.perf_counter() > at:
                random.choice(ready).kill(again=True)
                kills, at = kills + 1, time.perf_counter() + random.uniform(0, 0.5)
        for writer in writers:
            writer.kill(again=False)
        repaired += sum(f.kind == "leftover" for f in verify(root, repair=True, trust_paths=[folder]).findings)
        last = verify(root, read=True, trust_paths=[folder])
        errors += [str(f) for f in last.findings if f.kind not in ("no checksum", "pin in the trash")]
        with Butler(root, trust_paths=[folder]) as butler:
            for writer in writers:
                for (name, visit), values in writer.may_be.items():
                    checked += 1
                    there = butler.exists(name, visit=visit, writer=writer.number)
                    got = butler.get(name, visit=visit, writer=writer.number) if there else None
                    if got not in values:
                        errors.append(f"{name} {visit} {writer.number}: {got}, not one of {values}")
        drafts = list(root.rglob(".part~*"))
        errors += [f"left over: {path}" for path in drafts]
    print(
        f"{'kills':>8} {'verified':>9} {'leftovers repaired':>19} {'datasets checked':>17} {'wrong':>6} {'seconds':>8}"
    )
    seconds = time.perf_counter() - began
    print(f"{kills:8} {verified:9} {repaired:19} {checked:17} {len(errors):6} {seconds:8.0f}")
    for error in errors[:20]:
        print(error)
    return 1 if errors else 0


if __name__ == "__main__":
    os.environ.setdefault("BUNTER_CONFIG", tempfile.gettempdir() + "/bunter-faults")
    sys.exit(main())
