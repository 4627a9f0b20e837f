"""Writers killed at random moments, many times in one repository, and what is there afterwards.

Run with ``python benchmarks/faults/kills.py [--n 1000] [--fresh 50] [--seed 1] [--json FILE]``; a thousand kills take
about fifteen minutes. A worker puts (small, 1 MB, composites), replaces, deletes, restores, ingests in every mode,
copies to another repository and does transactions, as fast as it can; it writes down what was acknowledged, with a
hash of the content, and is killed. Exit code 1 if anything was lost.

Columns: kills; operations that were acknowledged; operations that were cut off, and how many of these were done all
the same; leftovers that were found and removed; then what must be zero: acknowledged datasets lost or altered, older
ones damaged (they were whole after an earlier kill), half visible ones, refused reopens, leftovers that nothing tells
from a user's own files or that `verify(repair=True)` did not remove, operations that failed by themselves.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from together import Table
from worlds import (
    POLICY,
    Faults,
    State,
    an_exp,
    digest,
    in_child,
    not_writable,
    others_reach,
    repair,
    scratch,
    state,
    unexplained_files,
    unknown_files,
    write_json,
)

from bunter import Butler, RepositoryArgs

MUST_BE_ZERO = ("lost", "damaged", "half", "refused", "leftovers", "failed")

# What an operation changes: key -> hash of the content, None if it is gone.
Changes = dict[str, str | None]


class Round:
    """A pair of repositories, and what is known to be in them.

    Attributes
    ----------
    known : dict
        What was acknowledged, or seen after a kill.
    trash : dict
        Visits of notes that were deleted, and what they held.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.repo, self.other, self.incoming = (folder / name for name in ("repo", "other", "incoming"))
        self.incoming.mkdir()
        for root in (self.repo, self.other):
            Butler(outputs=RepositoryArgs(root, policy=POLICY)).close()
        self.log = folder / "log"
        self.known: State = {}
        self.kills = 0

    # The worker

    def work(self, seed: int, ready: int) -> None:
        """Do one thing after the other until killed."""
        chosen = random.Random(seed)
        butler = Butler(outputs=self.repo)
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(ready, b"x")
        count = 0
        while True:
            count += 1
            if chosen.random() < 0.05:
                butler.close()
                butler = Butler(outputs=self.repo)
            name, changes, operation = self._something(chosen, self.kills * 1000 + count)
            os.write(log, (json.dumps(["begin", name, changes]) + "\n").encode())
            try:
                operation(butler)
            except Exception as error:
                os.write(log, (json.dumps(["failed", name, f"{type(error).__name__}: {error}"]) + "\n").encode())
                continue
            os.write(log, (json.dumps(["done", name, changes]) + "\n").encode())
            os.fsync(log)
            for key, value in changes.items():
                if value is None:
                    self.known.pop(key, None)
                else:
                    self.known[key] = value

    def _notes(self) -> list[int]:
        # Those with a file of their own in the repository.
        return [int(key.split(": ")[-1][:-1]) for key in self.known if key.startswith("repo: note ")]

    def _something(self, chosen: random.Random, new: int) -> tuple[str, Changes, Callable[[Butler], Any]]:
        notes = self._notes()
        names = ["put", "put 1 MB", "put composite", "transaction", "ingest", "undone"]
        if notes:
            names += ["replace", "delete", "copy"]
        blocks = [int(key.split(": ")[-1][:-1]) for key in self.known if key.startswith("repo: block ")]
        if blocks:
            names += ["replace 1 MB"]
        name = chosen.choice(names)
        value = {"n": chosen.getrandbits(60), "text": "x" * chosen.randrange(3000)}
        if name == "put":
            return name, {note(new): put(value)}, lambda b: b.put(value, "note", visit=new)
        if name in ("put 1 MB", "replace 1 MB"):
            visit = new if name == "put 1 MB" else chosen.choice(blocks)
            pixels = np.random.default_rng(chosen.getrandbits(32)).random((256, 512))
            return (
                name,
                {f"repo: block {{'visit': {visit}}}": put(pixels)},
                lambda b: b.put(pixels, "block", visit=visit, replace=True),
            )
        if name == "put composite":
            visit, ccd = self.kills, f"c{new}"
            exp = an_exp(visit, new)
            changes: Changes = {f"repo: {part} {{'visit': {visit}, 'ccd': '{ccd}'}}": put(exp[part]) for part in exp}
            del changes[f"repo: info {{'visit': {visit}, 'ccd': '{ccd}'}}"]
            changes[f"repo: info {{'visit': {visit}}}"] = put(exp["info"])
            changes[f"repo: exp {{'visit': {visit}, 'ccd': '{ccd}'}}"] = put(exp)
            return name, changes, lambda b: b.put(exp, "exp", visit=visit, ccd=ccd)
        if name == "replace":
            visit = chosen.choice(notes)
            return name, {note(visit): put(value)}, lambda b: b.put(value, "note", visit=visit, replace=True)
        if name == "delete":
            visit = chosen.choice(notes)
            return name, {note(visit): None}, lambda b: b.delete("note", visit=visit)
        if name == "copy":
            visit = chosen.choice(notes)
            key = f"other: note {{'visit': {visit}}}"
            # What was replaced since it was copied has another UUID: that is refused.
            if key not in self.known or self.known[key] == self.known[note(visit)]:
                changes = {key: self.known[note(visit)]}
                return name, changes, lambda b: b.copy_to(self.other, "note", visit=visit)
            return self._something(chosen, new)
        if name == "ingest":
            mode = chosen.choice(("direct", "copy", "move", "hardlink", "symlink"))
            files = [write_json(self.incoming / f"raw/{new * 10 + i}.json", {**value, "i": i}) for i in range(2)]
            changes = {f"repo: raw {{'visit': {new * 10 + i}}}": put({**value, "i": i}) for i in range(2)}
            return f"ingest, {mode}", changes, lambda b: b.ingest("raw", files, mode=mode)
        return self._together(chosen, new, name, notes, value)

    def _together(
        self, chosen: random.Random, new: int, name: str, notes: list[int], value: dict[str, Any]
    ) -> tuple[str, Changes, Callable[[Butler], Any]]:
        # Apart from the numbers that single puts get.
        visits = [10**9 + new * 10 + i for i in range(chosen.randrange(1, 5))]
        changes: Changes = {note(visit): put({**value, "visit": visit}) for visit in visits}
        gone = chosen.choice(notes) if notes and chosen.random() < 0.5 else None
        if gone is not None:
            changes[note(gone)] = None

        def do(butler: Butler) -> None:
            with butler.transaction():
                for visit in visits:
                    butler.put({**value, "visit": visit}, "note", visit=visit)
                if gone is not None:
                    butler.delete("note", visit=gone)
                if name == "undone":
                    raise _Undone

        def undo(butler: Butler) -> None:
            try:
                do(butler)
            except _Undone:
                return

        return (name, changes, do) if name == "transaction" else (name, {}, undo)

    # The killer

    def kill_one(self, seed: int, longest: float) -> None:
        """Let a worker work, and kill it."""
        self.kills += 1
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            try:
                os.close(reading)
                self.work(seed, writing)
            finally:
                os._exit(1)
        os.close(writing)
        os.read(reading, 1)
        os.close(reading)
        time.sleep(random.Random(seed + 1).random() * longest)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def told(self) -> tuple[list[tuple[str, Changes]], tuple[str, Changes] | None, list[str]]:
        """Return what was acknowledged since the last time, what was cut off, and what failed by itself."""
        done, begun, failed = [], None, []
        # A line that was cut off is no acknowledgement, nor was the operation begun.
        for line in self.log.read_text().split("\n")[:-1] if self.log.exists() else ():
            word, name, said = json.loads(line)
            if word == "begin":
                begun = name, said
            elif word == "done":
                done.append((name, said))
                begun = None
            else:
                failed.append(f"{name}: {said}")
                begun = None
        self.log.unlink(missing_ok=True)
        return done, begun, failed

    def seen(self, *, read_only: bool) -> State:
        """Return all that can be seen now."""

        def look() -> State:
            found = [state(root, trust_paths=[self.incoming]) for root in (self.repo, self.other)]
            return {key: value for each in found for key, value in each.items()}

        if not read_only or not others_reach(self.repo):
            return dict(in_child(look))
        with not_writable(self.repo), not_writable(self.other):
            return dict(in_child(look, as_nobody=True))


class _Undone(Exception):  # noqa: N818 - nothing went wrong
    pass


def note(visit: int) -> str:
    return f"repo: note {{'visit': {visit}}}"


def put(value: Any) -> str:
    return f"put {digest(value)}"


def applied(known: State, changes: Changes) -> State:
    """Return what is known once changes are done."""
    after = {**known, **{key: value for key, value in changes.items() if value is not None}}
    return {key: value for key, value in after.items() if changes.get(key, "") is not None}


def check(round_: Round, counts: Counter[str], faults: Faults, *, read_only: bool) -> None:
    """Compare what can be seen with what was acknowledged."""
    where = f"round {round_.folder.name}, kill {round_.kills}"
    older = dict(round_.known)
    done, begun, failed = round_.told()
    counts["acknowledged"] += len(done)
    counts.update(f"{name}" for name, _ in done)
    for text in failed:
        faults.add("failed", f"{where}: {text}")
    for _, changes in done:
        round_.known = applied(round_.known, changes)
    try:
        seen = round_.seen(read_only=read_only)
    except AssertionError as problem:
        faults.add("refused", f"{where}: {str(problem)[-800:]}")
        seen = round_.seen(read_only=False)
    expected = round_.known
    if begun is not None:
        counts["cut_off"] += 1
        finished = applied(expected, begun[1])
        if begun[1] and all(seen.get(key) == value for key, value in begun[1].items()):
            counts["done"] += 1
            counts[f"{begun[0]}, cut off and done"] += 1
            expected = finished
        else:
            counts[f"{begun[0]}, cut off"] += 1
    for key in sorted({*expected, *seen}):
        if seen.get(key) != expected.get(key):
            kind = "half" if key not in expected or (begun is not None and key in begun[1]) else "lost"
            if kind == "lost" and older.get(key) == expected[key]:
                kind = "damaged"
            faults.add(kind, f"{where}: {key} is {seen.get(key)}, was to be {expected.get(key)}; cut off: {begun}")
    round_.known = seen
    for root in (round_.repo, round_.other):
        for path in unexplained_files(root):
            faults.add("leftovers", f"{where}: nothing tells that {root.name}/{path} is a leftover; cut off: {begun}")


def tidy(round_: Round, counts: Counter[str], faults: Faults) -> None:
    """Let Bunter remove what is left over."""
    where = f"round {round_.folder.name}, after kill {round_.kills}"
    for root in (round_.repo, round_.other):
        counts["leftovers_removed"] += len(unknown_files(root))
        try:
            wrong = in_child(repair, root)
        except AssertionError as problem:
            faults.add("leftovers", f"{where}: {str(problem)[-800:]}")
            continue
        for text in [*wrong, *unknown_files(root)]:
            faults.add("leftovers", f"{where}: {root.name}, after the repair: {text}")
    try:
        if round_.seen(read_only=False) != round_.known:
            faults.add("damaged", f"{where}: the repair changed what can be seen")
    except AssertionError as problem:
        faults.add("damaged", f"{where}: after the repair {str(problem)[-600:]}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1000, help="how many kills")
    parser.add_argument("--fresh", type=int, default=50, help="kills in one repository")
    parser.add_argument("--longest", type=float, default=0.3, help="seconds until a worker is killed, at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the counts here, too")
    parser.add_argument("--folder", help="where to work; in memory if there is room, by default")
    given = parser.parse_args(arguments)
    faults, counts = Faults(), Counter[str]()
    columns = ["kills", "acknowledged", "cut off", "done", "leftovers removed"]
    table = Table([*columns, *MUST_BE_ZERO], MUST_BE_ZERO)
    began = time.perf_counter()

    def row(name: str) -> None:
        zeros = {kind: faults.counts.get(kind, 0) for kind in MUST_BE_ZERO}
        table.row(name, **{c.replace(" ", "_"): counts[c.replace(" ", "_")] for c in columns}, **zeros)

    with scratch(given.folder) as folder:
        os.environ["BUNTER_CONFIG"] = str(folder / "configuration")
        number = 0
        while counts["kills"] < given.n:
            number += 1
            round_ = Round(folder / f"{number}")
            _warm(round_)
            while counts["kills"] < given.n and round_.kills < given.fresh:
                counts["kills"] += 1
                round_.kill_one(given.seed * 1_000_000 + counts["kills"], given.longest)
                check(round_, counts, faults, read_only=round_.kills % 3 == 0)
                if round_.kills % 10 == 0 or round_.kills == given.fresh or counts["kills"] == given.n:
                    tidy(round_, counts, faults)
            row(f"until round {number}")
    print(f"{counts['kills']} kills in {time.perf_counter() - began:.0f} s")
    for name in sorted(set(counts) - {c.replace(" ", "_") for c in columns}):
        print(f"  {name}: {counts[name]}")
    for text in faults.told[:40]:
        print("-", text)
    if given.json is not None:
        given.json.write_text(json.dumps({"counts": counts, "zeros": faults.counts, "told": faults.told}, indent=1))
    return 1 if faults else 0


def _warm(round_: Round) -> None:
    """Import what the children need, here, once."""
    with Butler(outputs=round_.repo) as butler:
        butler.put(np.zeros(3), "block", visit=0)
        butler.put(an_exp(0), "exp", visit=0, ccd="a")
        butler.ingest("raw", write_json(round_.incoming / "raw/0.json", {}))
        butler.copy_to(round_.other, "block")
    round_.known = {
        key: value
        for root in (round_.repo, round_.other)
        for key, value in state(root, trust_paths=[round_.incoming]).items()
    }


if __name__ == "__main__":
    sys.exit(main())
