"""Processes that put the same data ID at the same moment: one winner each, nothing mixed, no file left.

Run with ``python benchmarks/faults/races.py [--n 1000] [--processes 4] [--only ROW]``; `n` is the number of races of
each row. Exit code 1 if a race had no winner or several, an error that content does not explain, or left something.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from together import Processes, Table

from bunter import Butler, DatasetExistsError, DatasetRef, RepositoryArgs

POLICY = """
datasets:
  note: {python: dict, storage: Json, template: "notes/{visit:d}.json"}
  info: {python: dict, storage: Json, template: "info/{visit:d}.json"}
  image: {python: dict, storage: Json, template: "images/{visit:d}-{ccd}.json"}
  wcs: {python: dict, storage: Json, template: "wcs/{visit:d}-{ccd}.json"}
  exp: {composite: {image: image, wcs: wcs, info: info}}
  pair: {composite: {image: image, wcs: wcs}}
"""

Put = tuple[str, dict[str, Any], Any]


def exposure(image: Any, wcs: Any, info: Any) -> dict[str, Any]:
    return {"image": {"by": image}, "wcs": {"by": wcs}, "info": {"by": info}}


def pair(image: Any, wcs: Any) -> dict[str, Any]:
    return {"image": {"by": image}, "wcs": {"by": wcs}}


# What each process puts in a race: (name, data ID, content). Names that begin with "replace" replace.
KINDS: dict[str, Callable[[int, int], Put]] = {
    "other content": lambda r, p: ("note", {"visit": r}, {"race": r, "by": p}),
    "same content": lambda r, p: ("note", {"visit": r}, {"race": r}),
    "composite, other": lambda r, p: ("exp", {"visit": r, "ccd": "a"}, exposure(p, p, p)),
    "composite, same": lambda r, p: ("exp", {"visit": r, "ccd": "a"}, exposure(r, r, r)),
    "shared, other": lambda r, p: ("exp", {"visit": r, "ccd": f"c{p}"}, exposure(p, p, p)),
    "shared, same": lambda r, p: ("exp", {"visit": r, "ccd": f"c{p}"}, exposure(p, p, "all")),
    "replace": lambda r, p: ("note", {"visit": 0}, {"race": r, "by": p}),
    "replace, new": lambda r, p: ("note", {"visit": r}, {"race": r, "by": p}),
    "replace composite": lambda r, p: ("pair", {"visit": 0, "ccd": "a"}, pair([r, p], [r, p])),
    # Each changes one half and refers to the other as it was.
    "replace halves": lambda r, p: (
        "pair",
        {"visit": r // 2, "ccd": "a"},
        pair([r, p] if r % 2 and p % 2 else "old", [r, p] if r % 2 and not p % 2 else "old"),
    ),
    # Some replace a component by its own name, others put composites that refer to it.
    "replace pinned": lambda r, p: (
        ("info", {"visit": r // 2}, {"by": [r, p]})
        if r % 2 and p % 2
        else ("exp", {"visit": r // 2, "ccd": f"c{p}x{r % 2}"}, exposure(p, p, "old"))
    ),
}


def race(index: int, gate: Any, root: str, kind: str, count: int) -> list[tuple[str | None, bool, Any]]:
    """Put what the others put at the same moment; return the error or None, whether content explains it, and a ref."""
    chance = random.Random(index)
    outcomes: list[tuple[str | None, bool, Any]] = []
    refs: list[DatasetRef | None] = []
    with Butler(outputs=root, durability="fast") as butler:
        for number in range(count):
            name, data_id, content = KINDS[kind](number, index)
            gate.wait()
            time.sleep(chance.choice((0, 0, 0.0005, 0.001, 0.002)))
            try:
                refs.append(butler.put(content, name, data_id, replace=kind.startswith("replace")))
                outcomes.append((None, True, None))
            except Exception as error:
                refs.append(None)
                outcomes.append((f"{type(error).__name__}: {error}", isinstance(error, DatasetExistsError), None))
        gate.wait()
        # What a put returned keeps to that put, whatever was replaced since.
        for number, ref in enumerate(refs):
            if ref is None:
                continue
            _, _, content = KINDS[kind](number, index)
            found = ref.get()
            if kind != "replace pinned" and found != content:
                outcomes[number] = (f"its reference reads {found}, not {content}", False, None)
    return outcomes


def check(root: str, kind: str, processes: int, told: list[list[tuple[str | None, bool, Any]]]) -> dict[str, int]:
    """Count races without exactly the winners that they must have, what reads back otherwise, files that are left."""
    counts = dict.fromkeys(("refused", "unexplained", "wrong winners", "mixed", "left files"), 0)
    with Butler(root) as butler:
        for number in range(len(told[0])):
            won = [p for p in range(processes) if told[p][number][0] is None]
            counts["refused"] += processes - len(won)
            for p in range(processes):
                error, explained, _ = told[p][number]
                if not explained:
                    counts["unexplained"] += 1
                    print(f"    {kind} {number} of {p}: {error}", file=sys.stderr)
            one_wins = kind.endswith("other") or kind == "other content"
            # Whoever comes after the replacement of a shared component has another one than it is now.
            some_win = kind == "replace pinned" and won
            if len(won) != (1 if one_wins else processes) and not some_win:
                counts["wrong winners"] += 1
                errors = [f"{p}: {told[p][number][0]}" for p in range(processes)]
                print(f"    {kind} {number}: winners {won}", *errors, sep="\n        ", file=sys.stderr)
            last = number == len(told[0]) - 1
            if kind in ("replace", "replace composite") and not last:
                continue
            if kind in ("replace halves", "replace pinned") and not number % 2:
                continue
            counts["mixed"] += is_mixed(butler, kind, number, won)
        recorded = {str(r.uri) for type_ in ("note", "info", "image", "wcs") for r in butler.query(type_)}
        recorded |= trashed(butler)
    counts["left files"] = len(set(files_of(root)) - recorded)
    return counts


def is_mixed(butler: Butler, kind: str, number: int, won: Iterable[int]) -> bool:
    """Tell whether what reads back is none of what winners put."""
    seen, notes = [], []
    for p in won:
        name, data_id, content = KINDS[kind](number, p)
        found = butler.get(name, data_id)
        if kind == "replace pinned":
            # Whatever came last, a composite holds what its component is now: who replaced it has repinned it.
            content = {**content, "info": butler.get("info", data_id)} if name == "exp" else found
        parts = {part: butler.get(part, data_id) for part in ("image", "wcs") if name == "pair"}
        if found == content and (not parts or parts == found):
            seen.append(p)
        else:
            notes.append(f"{p} put {content}; found {found}, its parts {parts}")
    every = kind.startswith("shared") or kind == "replace pinned" or "same" in kind
    mixed = len(seen) < len(list(won)) if every else not seen
    if mixed:
        print(f"    {kind} {number}", *notes, sep="\n        ", file=sys.stderr)
    return mixed


def trashed(butler: Butler) -> set[str]:
    """Return the files of datasets in the trash."""
    output = butler._starts[0]
    return {output.files.uri(r.file.path) for r in output.registry.everything() if not r.live and r.file is not None}


def files_of(root: str) -> list[str]:
    folders = [Path(root) / name for name in ("notes", "info", "images", "wcs")]
    return [str(path) for folder in folders if folder.is_dir() for path in folder.iterdir()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1000, help="races of each row")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--only", choices=KINDS, nargs="+", default=list(KINDS))
    options = parser.parse_args()
    wrong = ["unexplained", "wrong winners", "mixed", "left files"]
    table = Table(["processes", "races", "refused", *wrong], must_be_zero=wrong)
    with tempfile.TemporaryDirectory() as folder, Processes(options.processes) as processes:
        for kind in options.only:
            root = str(Path(folder) / kind.replace(" ", "_"))
            with Butler(outputs=RepositoryArgs(root, policy=POLICY), durability="fast") as butler:
                if kind == "replace":
                    butler.put({}, "note", visit=0)
                if kind == "replace composite":
                    butler.put(pair(0, 0), "pair", visit=0, ccd="a")
            told = processes.run(race, root, kind, options.n)
            counts = {name.replace(" ", "_"): n for name, n in check(root, kind, options.processes, told).items()}
            table.row(kind, processes=options.processes, races=options.n, **counts)
    return int(table.failed)


if __name__ == "__main__":
    sys.exit(main())
