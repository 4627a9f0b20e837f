"""Repositories of every earlier layout: still read where nobody may write, made today's by whoever writes."""

from __future__ import annotations

import os
import sqlite3
import zipfile
from pathlib import Path

import pytest

from bunter import Butler, DatasetNotFoundError, RepositoryError, verify
from bunter.registry import migrations
from bunter.registry.schema import VERSION
from bunter.registry.sqlite import SqliteRegistry

STORED = Path(__file__).parents[1] / "data" / "repositories"
EARLIER = list(range(1, VERSION))


@pytest.fixture(params=EARLIER)
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A parent and a child as the Bunter of an earlier layout left them."""
    with zipfile.ZipFile(STORED / f"layout-{request.param}.zip") as stored:
        stored.extractall(tmp_path)
    return tmp_path / f"layout-{request.param}"


def version(root: Path) -> int:
    db = sqlite3.connect(root / "registry.sqlite")
    try:
        return int(db.execute("SELECT value FROM about WHERE name = 'version'").fetchone()[0])
    finally:
        db.close()


def check(butler: Butler, tree: Path) -> None:
    """Everything that `tests/data/repositories/make.py` put."""
    assert butler.get("weather", visit=1) == {"seeing": 0.9}
    assert butler.get("frame", visit=1, ccd="N3") == {"weather": {"seeing": 1.1}, "zeropoint": 25.0}
    assert butler.get("sky", visit=9) == {"seeing": 2.0}
    assert butler.get("tide", mjd=59000.5) == {"height": 2.5}
    assert butler.get("raw", visit=7) == {"raw": 7}
    (made,) = [ref for ref in butler.query("weather") if ref.data_id["visit"] == 9]
    assert [ref.data_id for ref in made.precursors] == [{"visit": 7}]
    with pytest.raises(DatasetNotFoundError):
        butler.get("zeropoint", visit=2, ccd="Sä/4")
    if tree.name != "layout-1":
        picture = butler.get("picture", visit=1)
        assert (picture.image.sum(), picture.variance.sum()) == (190, 20)
        assert butler.get("picture.variance", visit=1).sum() == 20
        assert butler.get("frame", visit=2, ccd="N5")["zeropoint"] == 26.0
        assert butler.get("frame", visit=2, ccd="N7")["zeropoint"] == 27.5


def test_every_earlier_layout_is_stored() -> None:
    assert sorted(path.name for path in STORED.glob("*.zip")) == [f"layout-{n}.zip" for n in EARLIER]


def test_who_only_reads_changes_nothing(tree: Path) -> None:
    before = version(tree / "child"), version(tree / "base")
    with Butler(tree / "child") as butler:
        check(butler, tree)
    assert (version(tree / "child"), version(tree / "base")) == before


def test_who_writes_makes_it_todays_and_its_parents_stay(tree: Path) -> None:
    before = version(tree / "base")
    with Butler(outputs=tree / "child") as butler:
        check(butler, tree)
        butler.put(26.0, "zeropoint", visit=2, ccd="Sä/4")
    assert (version(tree / "child"), version(tree / "base")) == (VERSION, before)
    with Butler(tree / "child") as butler:
        check_again = butler.get("zeropoint", visit=2, ccd="Sä/4")
        assert check_again == 26.0
        assert butler.get("frame", visit=1, ccd="N3")["weather"] == {"seeing": 1.1}


def test_it_is_the_same_as_one_made_today(tree: Path, tmp_path: Path) -> None:
    """The tables, the indexes and the times of the trash."""
    SqliteRegistry(str(tree / "child" / "registry.sqlite")).close()
    SqliteRegistry(str(tmp_path / "new.sqlite"), create=True).close()
    schemas = []
    for path in (tree / "child" / "registry.sqlite", tmp_path / "new.sqlite"):
        db = sqlite3.connect(path)
        schemas.append(
            {name: sql for name, sql in db.execute("SELECT name, sql FROM sqlite_master") if not name.startswith("d")}
        )
        db.close()
    assert schemas[0] == schemas[1]
    registry = SqliteRegistry(str(tree / "child" / "registry.sqlite"), writable=False)
    trashed = [record.trashed_at for record in registry.everything() if not record.live]
    assert len(trashed) == (2 if tree.name == "layout-1" else 3)
    assert all(at and at > 1_700_000_000 for at in trashed)
    registry.close()


def holders(registry: SqliteRegistry, ccd: str) -> list[tuple[object, object]]:
    """Who pins the zeropoint of visit 2, and whether that is live."""
    found = registry.pinned_by("zeropoint", {"visit": 2, "ccd": ccd}, None)
    return [(record.data_id["ccd"], record.live) for record in found]


def test_pins_of_an_earlier_layout_are_as_good(tree: Path) -> None:
    """They are found, follow what replaces what they pin, and keep their place; old and new ones side by side."""
    if tree.name == "layout-1":
        pytest.skip("without such pins")
    path = str(tree / "child" / "registry.sqlite")
    reader = SqliteRegistry(path, writable=False)
    assert (holders(reader, "N5"), holders(reader, "N7")) == ([("N5", True)], [("N7", True)])
    (frame,) = reader.select("frame", {"ccd": "N5"})
    (zeropoint,) = reader.select("zeropoint", {"ccd": "N5"})
    assert [r.uuid for r in reader.pinning(zeropoint)] == [frame.uuid]
    assert {pin.place for pin in reader.pins("frame", frame.uuid)} == {
        "/somewhere/else/base: weather/2.json", "/somewhere/else/child: zp/2-N5.json",
    }  # fmt: skip
    reader.close()
    with Butler(outputs=tree / "child") as butler:
        butler.put(26.5, "zeropoint", visit=2, ccd="N5", replace=True)
        butler.put({"weather": None, "zeropoint": 28.0}, "frame", visit=2, ccd="N9", discard=["weather"])
        assert butler.get("frame", visit=2, ccd="N5")["zeropoint"] == 26.5
        butler.put(28.5, "zeropoint", visit=2, ccd="N9", replace=True)
        assert butler.get("frame", visit=2, ccd="N9")["zeropoint"] == 28.5
        butler.put(29.5, "zeropoint", visit=2, ccd="N9", replace=True)
        assert butler.get("frame", visit=2, ccd="N9")["zeropoint"] == 29.5
    told = {finding.kind for finding in verify(tree / "child").findings}
    assert not told & {"registry damaged", "pin gone", "pinned file missing"}


def test_a_migration_is_whole_or_not_at_all(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tree / "child" / "registry.sqlite")
    before = version(tree / "child")
    real = migrations._STEPS[before]

    def broken(connection: sqlite3.Connection) -> None:
        real(connection)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setitem(migrations._STEPS, before, broken)
    with pytest.raises(RepositoryError, match="disk I/O error"):
        SqliteRegistry(path)
    monkeypatch.undo()
    assert version(tree / "child") == before
    with Butler(tree / "child") as butler:
        check(butler, tree)
    SqliteRegistry(path).close()
    assert version(tree / "child") == VERSION


def test_two_at_once_migrate_once(tree: Path) -> None:
    path = str(tree / "child" / "registry.sqlite")
    pids = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            try:
                SqliteRegistry(path).close()
            except BaseException:
                os._exit(1)
            os._exit(0)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 4
    assert version(tree / "child") == VERSION
