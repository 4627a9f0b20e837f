"""What `fuzz.py` does with each case, and what it holds Bunter to."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import fuzz_cases as cases
import fuzz_policies

from bunter import BunterError, Butler, RepositoryArgs
from bunter.definitions import load
from bunter.errors import DatasetExistsError
from bunter.names import DatasetName
from bunter.templates import Template
from bunter.where import parse
from bunter.words import shown

POLICY = """
keys: {v: int, w: int, s: str, t: str, x: float}
datasets:
  one: {storage: Json, template: "one/{s}.json"}
  two:sfm: {storage: Json, template: "two/{v:d}/{s}-{t}.json"}
  root: {storage: Json, template: "{s}/{t}/d.json"}
  file: {storage: Json, template: "{s}"}
  real: {storage: Json, template: "real/{x:.3f}.json"}
  both: {storage: Json, template: "both/{x}_{s}.json"}
  wide: {storage: Json, template: "w/{v:04d}{s}.json"}
  part: {storage: Json, template: "p/{v}-{w}.tar.gz"}
  pair: {composite: {one: one, two: {datasetType: "two:sfm", optional: true}}}
aliases: {alias: "two:sfm"}
"""
_TYPES = {
    "one": ("s",),
    "two:sfm": ("v", "s", "t"),
    "root": ("s", "t"),
    "file": ("s",),
    "real": ("x",),
    "both": ("x", "s"),
    "wide": ("v", "s"),
    "part": ("v", "w"),
}
_KINDS = {"v": "int", "w": "int", "s": "str", "t": "str", "x": "float"}


class BrokenError(AssertionError):
    """A promise that was not kept."""


def need(true: bool, what: str) -> None:
    """Raise `BrokenError` unless something is true."""
    if not true:
        raise BrokenError(what)


class Watch:
    """Notes what is opened, made, run or imported outside of the places where that is right."""

    def __init__(self, scratch: str) -> None:
        self.seen: list[str] = []
        self.on = False
        # The interpreter, its libraries and Bunter itself are read as they are needed.
        own = {sys.prefix, sys.base_prefix, str(fuzz_policies.PROJECT / "src"), *(p for p in sys.path if p)}
        self._reads = (*(os.path.realpath(p) + "/" for p in own), scratch + "/", "/proc/", "/dev/null")
        self._writes = (scratch + "/",)
        self._scratch = scratch
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            path, _, flags = arguments
            writing = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            self._path(event, path, self._writes if writing else self._reads)
        elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.utime", "os.mkfifo"):
            self._path(event, arguments[0], self._writes)
        elif event in ("os.rename", "os.link", "os.symlink"):
            self._path(event, arguments[0], self._writes)
            self._path(event, arguments[1], self._writes)
        elif event in ("os.listdir", "os.scandir"):
            self._path(event, arguments[0], self._reads)
        elif event.startswith(
            (
                "subprocess.",
                "os.system",
                "os.exec",
                "os.spawn",
                "os.posix_spawn",
                "os.fork",
                "socket.",
                "pty.",
                "ctypes.dlopen",
            )
        ) or event in ("pickle.find_class", "sqlite3.enable_load_extension", "sqlite3.load_extension"):
            self.seen.append(f"{event} {arguments!r:.200}")

    def _path(self, event: str, path: Any, allowed: tuple[str, ...]) -> None:
        if isinstance(path, int):
            return
        with suppress(Exception):
            text = os.path.abspath(os.fsdecode(path))
            real = os.path.join(os.path.realpath(os.path.dirname(text)), os.path.basename(text))
            if text != self._scratch and not (text + "/").startswith(allowed) and not (real + "/").startswith(allowed):
                self.seen.append(f"{event} {text!r}")
            elif (text + "/").startswith(allowed) and not (os.path.realpath(text) + "/").startswith(self._reads):
                self.seen.append(f"{event} {text!r} -> {os.path.realpath(text)!r}")


class World:
    """A scratch folder with a repository, and what was written there."""

    def __init__(self, folder: str) -> None:
        self.folder = os.path.realpath(folder)
        self.root = os.path.join(self.folder, "a", "b", "root")
        self.incoming = os.path.join(self.folder, "incoming")
        self.policies = os.path.join(self.folder, "policies")
        for made in (os.path.dirname(self.root), self.incoming, self.policies):
            os.makedirs(made)
        outside = Path(self.folder, "outside.yaml")
        outside.write_text("datasets: {secret: {storage: Json, template: 'secret/{v:d}.json'}}\n")
        Path(self.policies, "other.yaml").write_text("datasets: {other: {storage: Json, template: 'o/{v:d}.json'}}\n")
        Path(self.policies, "ring.yaml").write_text("include: [ring.yaml]\n")
        os.symlink(outside, os.path.join(self.policies, "link.yaml"))
        self.butler = Butler(outputs=RepositoryArgs(self.root, policy=POLICY), durability="fast")
        self.butler.put({"n": -1}, "one", s="a")
        self.butler.put({"n": -2}, "two:sfm", v=1, s="a", t="b")
        self.paths: dict[str, tuple[str, Any]] = {}
        self.folded: dict[str, str] = {}
        self.ids: dict[tuple[str, Any], Any] = {}
        for kind, values in (("one", {"s": "a"}), ("two:sfm", {"v": 1, "s": "a", "t": "b"})):
            self.note(kind, values, self.butler.get(kind, values))
        self.database = sqlite3.connect(":memory:")
        self.database.execute("CREATE TABLE d (v INTEGER, s TEXT, x REAL)")
        self.corpus = fuzz_policies.policies()
        self.repositories = 0

    def note(self, type_: str, data_id: Any, content: Any) -> None:
        """Note that a dataset was written; its file must be one of its own, inside."""
        stored = self.butler.uri(type_, data_id)
        need(os.path.realpath(stored).startswith(self.root + "/"), f"{stored!r} is outside of the root")
        need(os.path.isfile(stored) and not os.path.islink(stored), f"{stored!r} is no file")
        before = self.paths.setdefault(stored, (type_, dict(data_id)))
        need(before == (type_, dict(data_id)), f"{before} and {(type_, dict(data_id))} share {stored!r}")
        folded = cases.nfc(stored).casefold()
        need(self.folded.setdefault(folded, stored) == stored, f"{stored!r} and {self.folded[folded]!r} differ in case")
        self.ids[type_, frozenset(dict(data_id).items())] = content

    def check_files(self) -> None:
        """Hold the folder against what was noted."""
        own = {"bunter.yaml", "policy.yaml", "registry.sqlite", "registry.sqlite-wal", "registry.sqlite-shm"}
        for folder, _, files in os.walk(self.folder):
            if folder.startswith((self.incoming, self.policies, os.path.join(self.folder, "stores"))):
                continue
            for file in files:
                found = os.path.join(folder, file)
                known = found in self.paths or (folder == self.root and file in own) or file == "outside.yaml"
                known = known or found.startswith(os.path.join(self.root, ".bunter") + "/")
                need(known, f"nobody wrote {found!r}")
        for found in self.paths:
            need(os.path.exists(found), f"{found!r} is gone")


def check_name(world: World, r: Random) -> None:
    """Any name, in any call."""
    given = cases.name(r)
    data_id = r.choice(
        ({}, {"v": 1, "s": "a", "t": "b"}, {"s": "a"}, {"stage": cases.text(r, 3)}, {"version": cases.value(r)})
    )
    calls: tuple[Callable[[], Any], ...] = (
        lambda: world.butler.get(given, data_id),
        lambda: world.butler.exists(given, data_id),
        lambda: str(world.butler.plan(given, data_id)),
        lambda: list(world.butler.query(given, data_id)),
        lambda: world.butler.uri(given, data_id),
        lambda: world.butler.keys(given),
        lambda: world.butler.defer(given, data_id),
        lambda: world.butler.delete(given, {"s": "not there"}),
        lambda: world.butler.put({"n": 0}, given, {}),
        lambda: world.butler.alias(given, "nothing"),
        lambda: world.butler.alias("word", f"{given}x" if isinstance(given, str) else given),
        lambda: world.butler.definition(given),
    )
    with suppress(BunterError):
        r.choice(calls)()
    parsed = DatasetName.parse(given)
    need(DatasetName.parse(str(parsed)) == parsed or parsed.stage == "", f"{shown(given)} becomes {str(parsed)!r}")


def check_data_id(world: World, r: Random) -> None:
    """Any value, put, looked for, listed."""
    type_ = r.choice(list(_TYPES))
    given = {key: cases.data_value(r, _KINDS[key]) for key in _TYPES[type_]}
    if r.random() < 0.05:
        given[r.choice((cases.text(r, 3), "é", "class", "_", "stage", "k" * 70))] = cases.value(r)
    if r.random() < 0.01:
        given = cases.value(r)
    butler = world.butler
    what = r.random()
    if what < 0.12:
        calls: tuple[Callable[[], Any], ...] = (
            lambda: butler.get(type_, given),
            lambda: butler.exists(type_, given),
            lambda: str(butler.plan(type_, given)),
            lambda: list(butler.query(type_, given, limit=3)),
            lambda: butler.uri(type_, given),
            lambda: butler.defer(type_, dataId=given),
            lambda: butler.exists("pair", given),
            lambda: butler.get("pair", given) and None,
            lambda: butler.put({"one": {}, "two": None}, "pair", given),
        )
        with suppress(DatasetExistsError):
            r.choice(calls[:-1])()
        return
    content = {"n": r.randrange(1 << 60)}
    if what < 0.2:
        _ingest(world, r, type_, given, content)
        return
    try:
        ref = butler.put(content, type_, given)
    except DatasetExistsError:
        need(butler.exists(type_, given), f"{shown(given)} exists and does not exist")
        raise
    world.note(type_, ref.data_id, content)
    need(butler.get(type_, given) == content, f"{shown(given)} does not come back")


def _ingest(world: World, r: Random, type_: str, given: Any, content: Any) -> None:
    name = r.choice(
        (f"{r.randrange(1 << 60)}.json", f"{r.randrange(1 << 30)}-{cases.text(r, 3)}.json", cases.text(r, 4))
    )
    path = os.path.join(world.incoming, name)
    try:
        if not path.startswith(world.incoming + "/") or os.path.realpath(path) != path or len(path) > 4000:
            path = os.path.join(world.incoming, "plain.json")
        with open(path, "w") as file:
            file.write(f'{{"n": {content["n"]}}}\n')
    except (OSError, ValueError):
        path = os.path.join(world.incoming, "plain.json")
        Path(path).write_text(f'{{"n": {content["n"]}}}\n')
    try:
        if r.random() < 0.5 and isinstance(given, dict):
            files: Any = [{"path": path, **given}]
        else:
            files = path
        done = world.butler.ingest(
            type_,
            files,
            data_id=given if isinstance(files, str) and r.random() < 0.7 else None,
            mode=r.choice(("copy", "hardlink", "move")),
        )
    finally:
        with suppress(OSError):
            os.unlink(path)
    for ref in done:
        world.note(type_, ref.data_id, content)
        need(ref.get() == content, f"{shown(given)} does not come back after its ingest")


def check_template(world: World, r: Random) -> None:
    """Any template, forwards and backwards."""
    given = cases.template(r)
    written = None
    made = None
    try:
        made = Template(given)
        kinds = {key: kind or r.choice(("str", "str", "int", "float")) for key, kind in made.kinds.items()}
        seen: dict[str, Any] = {}
        for _ in range(3):
            values = {key: cases.data_value(r, kind) for key, kind in kinds.items()}
            try:
                written = made.format(values)
            except BunterError:
                continue
            _check_path(written)
            back = made.match(written, {key: _kind(values[key]) for key in values})
            need(back is not None, f"{shown(given)}: {written!r} does not match")
            need(made.format(back) == written, f"{shown(given)}: {written!r} reads as {back}")
            exact = {key: (type(value).__name__, value) for key, value in back.items()}
            need(seen.setdefault(written, exact) == exact, f"{shown(given)}: two values share {written!r}")
            for key, value in back.items():
                need(_same(value, values[key]), f"{shown(given)}: {key}={values[key]!r} comes back as {value!r}")
    finally:
        known = (
            made
            if made is not None
            else Template(r.choice(("sfm/{visit:07d}-{ccd}.fits", "{a}-{b}_{c}", "{x:.3f}{s}")))
        )
        other = cases.path(r, written)
        with suppress(BunterError):
            known.match(other, {key: r.choice(("str", "int", "float")) for key in known.kinds})


def _kind(value: Any) -> str:
    return "str" if isinstance(value, str) else "int" if hasattr(value, "__index__") else "float"


def _same(back: Any, given: Any) -> bool:
    if isinstance(back, str):
        return str.__eq__(back, cases.nfc(str.__str__(given)))
    return bool(back == (float(given) if isinstance(back, float) else given))


def _check_path(written: str) -> None:
    need(
        not os.path.isabs(written) and "\0" not in written and "~" not in written, f"{written!r} is no path for a file"
    )
    for name in written.split("/"):
        need(name not in ("", ".", "..") and len(name.encode()) <= 255, f"{written!r} holds {name[:40]!r}")
        need(not name.startswith((".part~",)), f"{written!r} is a draft's name")
    need(os.path.normpath(os.path.join("/r", written)).startswith("/r/"), f"{written!r} leaves the root")


def check_expression(world: World, r: Random) -> None:
    """Any expression, in Python, in SQLite, and through a query."""
    given = cases.expression(r)
    try:
        if r.random() < 0.05:
            list(world.butler.query(r.choice(("two:sfm", "one", "pair")), where=given, limit=2))
    finally:
        parsed = parse(given)
        row = {
            "v": r.choice((None, 0, 1, -1, 2**63 - 1)),
            "s": r.choice((None, "a", "b", "é", "")),
            "x": r.choice((None, 0.0, 0.5, -1e-3)),
        }
        if parsed.names <= row.keys():
            parsed.check({"v": "int", "s": "str", "x": "float"})
            clause, values = parsed.to_sql(lambda key: f'"{key}"')
            need(all(isinstance(value, int | float | str) for value in values), f"{shown(given)} binds {values}")
            world.database.execute("DELETE FROM d")
            world.database.execute("INSERT INTO d VALUES (?, ?, ?)", tuple(row.values()))
            asked = bool(world.database.execute(f"SELECT 1 FROM d WHERE {clause}", values).fetchall())
            need(asked == parsed.evaluate(row), f"{shown(given)} of {row}: SQLite says {asked}")
        else:
            parsed.evaluate(row)


def check_policy(world: World, r: Random) -> None:
    """Any policy: read, written, read again, and used."""
    given = fuzz_policies.policy(r, world.corpus)
    if r.random() < 0.15 and isinstance(given, str):
        _stored_policy(world, given)
    found = load(given, trusted=False, base_dir=world.policies)
    if len(found.types) > 1000:
        return
    text = found.to_yaml()
    again = load(text if text.strip() else {}, trusted=False, base_dir=world.policies)
    need(set(again.types) == set(found.types), f"{set(found.types) ^ set(again.types)} after reading it again")
    if len(found.types) < 100 and r.random() < 0.3:
        _used(world, r, given)


def _stored_policy(world: World, given: str) -> None:
    """Find a policy in somebody's repository."""
    root = os.path.join(world.folder, "stores", "found")
    if not os.path.isdir(root):
        Butler(outputs=RepositoryArgs(root, policy={}), durability="fast").close()
    try:
        data = given.encode("utf-8", "surrogatepass")
        Path(root, "policy.yaml").write_bytes(data)
        with Butler(root) as butler:
            for type_ in butler.dataset_types()[:20]:
                _asked(butler, type_)
    except BunterError:
        return


def _used(world: World, r: Random, given: Any) -> None:
    if isinstance(given, str) and "\n" not in given and not given.lstrip().startswith(("{", "datasets", "keys")):
        return
    if "include" in (given if isinstance(given, str) else repr(given)):
        return
    root = os.path.join(world.folder, "stores", f"made{world.repositories % 20}")
    world.repositories += 1
    with suppress(BunterError), Butler(outputs=RepositoryArgs(root, policy={}), durability="fast") as butler:
        butler.define(given)
        for type_ in butler.dataset_types()[:20]:
            _asked(butler, type_)


def _asked(butler: Butler, type_: str) -> None:
    kinds = butler.key_types()
    calls: tuple[Callable[[dict[str, Any]], Any], ...] = (
        lambda data_id: str(butler.plan(type_, data_id)),
        lambda data_id: butler.exists(type_, data_id),
        lambda data_id: butler.get(type_, data_id),
        lambda data_id: list(butler.query(type_)),
    )
    for call in calls:
        with suppress(BunterError):
            keys = butler.keys(type_)
            call({key: {"int": 1, "float": 0.5}.get(kinds.get(key, "str"), "a") for key in keys})


CHECKS: dict[str, Callable[[World, Random], None]] = {
    "names": check_name,
    "data IDs": check_data_id,
    "templates": check_template,
    "expressions": check_expression,
    "policies": check_policy,
}
