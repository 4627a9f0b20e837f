"""Transactions: all visible together at the end, or nothing (design 4)."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bunter import Butler, ConflictError, DatasetExistsError, DatasetNotFoundError, InUseError, RepositoryError
from tests.core_support import ID, Pair, World, making_world, pair_policy, raised, write_json

POLICY = pair_policy("Pair") + '  conf: {python: dict, storage: Json, template: "conf/{visit:d}.json"}\n'


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with making_world(tmp_path) as made:
        yield made


@pytest.fixture
def butler(world: World) -> Butler:
    return world.butler("a", POLICY)


def test_rows_become_visible_together_at_the_end(world: World, butler: Butler) -> None:
    other = world.reader("a")
    with butler.transaction():
        butler.put({"n": 1}, "conf", visit=1)
        butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
        assert butler.get("conf", visit=1) == {"n": 1}
        assert butler.exists("pair", ID)
        assert butler.query("conf").count() == 1
        assert butler.query("pair").data_ids == [ID]
        assert not other.exists("conf", visit=1)
        assert not other.exists("wcs", ID)
        assert other.query("conf").count() == 0
        # Files are written at once.
        written = [path for path in world.files("a") if ".part~" not in path]
        assert written == ["calib/1-N3.json", "conf/1.json", "wcs/1-N3.json"]
    assert other.get("conf", visit=1) == {"n": 1}
    assert other.get("pair", ID) == butler.get("pair", ID) == Pair({"n": 1}, {"z": 1})
    assert other.query("pair").data_ids == [ID]


def test_an_error_undoes_all(world: World, butler: Butler) -> None:
    butler.put({"n": 0}, "conf", visit=0)

    def job() -> None:
        with butler.transaction():
            butler.put({"n": 1}, "conf", visit=1)
            butler.put({"n": 9}, "conf", visit=0, replace=True)
            butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
            raise KeyError("mine")

    assert isinstance(raised(job), KeyError)
    assert world.files("a") == ["conf/0.json"]
    assert butler.get("conf", visit=0) == {"n": 0}
    assert not butler.exists("conf", visit=1)
    assert not butler.exists("pair", ID)
    butler.put({"n": 1}, "conf", visit=1)
    assert butler.get("conf", visit=1) == {"n": 1}


def test_an_error_of_ours_inside_that_is_caught_undoes_nothing(butler: Butler) -> None:
    butler.put({"n": 0}, "conf", visit=0)
    with butler.transaction():
        butler.put({"n": 1}, "conf", visit=1)
        with pytest.raises(DatasetExistsError):
            butler.put({"n": 2}, "conf", visit=1)
        with pytest.raises(DatasetExistsError):
            butler.put({"n": 2}, "conf", visit=0)
    assert butler.get("conf", visit=1) == {"n": 1}


def test_a_conflict_at_exit_undoes_all(world: World, butler: Butler) -> None:
    other = world.butler("a")

    def job() -> None:
        with butler.transaction():
            butler.put({"n": 1}, "conf", visit=1)
            butler.put({"n": 2}, "conf", visit=2)
            other.put({"n": "other"}, "conf", visit=2)

    error = raised(job)
    assert isinstance(error, DatasetExistsError)
    assert "conf {'visit': 2}" in str(error)
    assert not butler.exists("conf", visit=1)
    assert butler.get("conf", visit=2) == {"n": "other"}
    assert len(world.files("a")) == 1


def test_the_same_content_put_by_others_meanwhile_is_referenced(world: World, butler: Butler) -> None:
    other = world.butler("a")
    with butler.transaction():
        butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
        theirs = other.put({"n": 1}, "wcs", ID)
    assert butler.get("pair", ID) == Pair({"n": 1}, {"z": 1})
    assert butler.plan("pair.wcs", ID).leaves()[0]["uuid"] == str(theirs.uuid)
    assert len(world.files("a")) == 2


def test_refs_of_a_transaction_live_on(world: World, butler: Butler) -> None:
    with butler.transaction():
        ref = butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
        inside = (ref.uuid, ref.repository, ref.get())
    assert (ref.uuid, ref.repository, ref.get()) == inside
    assert ref.repository == str(world.folder / "a")
    assert ref == butler.query("pair").first()


def test_refs_of_a_transaction_that_was_undone_are_gone(butler: Butler) -> None:
    refs: list[Any] = []

    def job() -> None:
        with butler.transaction():
            refs.append(butler.put({"n": 1}, "conf", visit=1))
            raise KeyError("mine")

    raised(job)
    with pytest.raises(DatasetNotFoundError, match="undone"):
        refs[0].get()


def test_replace_and_repin_inside(world: World, butler: Butler) -> None:
    butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    other = world.reader("a")
    with butler.transaction():
        butler.put({"n": 2}, "wcs", ID, replace=True)
        assert butler.get("pair", ID) == Pair({"n": 2}, {"z": 1})
        assert other.get("pair", ID) == Pair({"n": 1}, {"z": 1})
    assert other.get("pair", ID) == butler.get("pair", ID) == Pair({"n": 2}, {"z": 1})
    assert butler.plan("pair.wcs", ID).leaves()[0]["pinned"]


def test_replace_twice_inside(world: World, butler: Butler) -> None:
    butler.put({"n": 0}, "conf", visit=1)
    with butler.transaction():
        butler.put({"n": 1}, "conf", visit=1, replace=True)
        butler.put({"n": 2}, "conf", visit=1, replace=True)
        assert butler.get("conf", visit=1) == {"n": 2}
        assert butler.query("conf").count() == 1
    assert butler.get("conf", visit=1) == {"n": 2}
    assert butler.query("conf").count() == 1


def test_put_and_replace_inside(butler: Butler) -> None:
    with butler.transaction():
        butler.put({"n": 1}, "conf", visit=1)
        butler.put({"n": 2}, "conf", visit=1, replace=True)
    assert butler.get("conf", visit=1) == {"n": 2}
    assert butler.query("conf").count() == 1


def test_the_same_again_inside_is_a_no_op(world: World, butler: Butler) -> None:
    butler.put({"n": 0}, "conf", visit=0)
    with butler.transaction():
        first = butler.put({"n": 1}, "conf", visit=1)
        assert butler.put({"n": 1}, "conf", visit=1).uuid == first.uuid
        butler.put({"n": 0}, "conf", visit=0)
        pair = butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
        assert butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID).uuid == pair.uuid
    assert len(world.files("a")) == 4


def test_delete_inside(world: World, butler: Butler) -> None:
    butler.put({"n": 0}, "conf", visit=0)
    other = world.reader("a")
    with butler.transaction():
        butler.delete("conf", visit=0)
        assert not butler.exists("conf", visit=0)
        assert butler.query("conf").count() == 0
        assert other.exists("conf", visit=0)
    assert not butler.exists("conf", visit=0)
    assert not other.exists("conf", visit=0)


def test_delete_inside_is_undone(butler: Butler) -> None:
    butler.put({"n": 0}, "conf", visit=0)

    def job() -> None:
        with butler.transaction():
            butler.delete("conf", visit=0)
            raise KeyError("mine")

    raised(job)
    assert butler.get("conf", visit=0) == {"n": 0}


def test_delete_what_was_put_inside(butler: Butler) -> None:
    with butler.transaction():
        butler.put({"n": 1}, "conf", visit=1)
        butler.delete("conf", visit=1)
        assert not butler.exists("conf", visit=1)
    assert not butler.exists("conf", visit=1)
    butler.put({"n": 2}, "conf", visit=1)
    assert butler.get("conf", visit=1) == {"n": 2}


def test_put_again_what_was_deleted_inside(butler: Butler) -> None:
    butler.put({"n": 0}, "conf", visit=0)
    with butler.transaction():
        butler.delete("conf", visit=0)
        butler.put({"n": 1}, "conf", visit=0)
        assert butler.get("conf", visit=0) == {"n": 1}
    assert butler.get("conf", visit=0) == {"n": 1}


def test_a_deleted_dataset_shows_what_it_masked(world: World, butler: Butler) -> None:
    butler.put({"in": "a"}, "conf", visit=0)
    child = world.butler("b", inputs="a")
    child.put({"in": "b"}, "conf", visit=0)
    with child.transaction():
        child.delete("conf", visit=0)
        assert child.get("conf", visit=0) == {"in": "a"}
    assert child.get("conf", visit=0) == {"in": "a"}


def test_delete_of_a_composite_and_its_component_inside(butler: Butler) -> None:
    butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    with butler.transaction():
        with pytest.raises(InUseError):
            butler.delete("wcs", ID)
        butler.delete("pair", ID)
        butler.delete("wcs", ID)
    assert not butler.exists("pair", ID)
    assert butler.exists("calib", ID)


def test_a_composite_put_inside_holds_its_components(butler: Butler) -> None:
    butler.put({"n": 1}, "wcs", ID)
    with butler.transaction():
        butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
        with pytest.raises(InUseError, match="pair"):
            butler.delete("wcs", ID)


def test_shared_components_conflict_inside_too(world: World) -> None:
    policy = """
    datasets:
      info: {python: dict, storage: Json, template: "info/{visit:d}.json"}
      image: {python: list, storage: Json, template: "image/{visit:d}-{ccd}.json"}
      exp: {composite: {image: image, info: info}}
    """
    butler = world.butler("b", policy)
    with butler.transaction():
        butler.put({"image": [1], "info": {"n": 1}}, "exp", visit=1, ccd="N3")
        with pytest.raises(ConflictError, match="info"):
            butler.put({"image": [1], "info": {"n": 2}}, "exp", visit=1, ccd="N4")
        butler.put({"image": [1], "info": {"n": 1}}, "exp", visit=1, ccd="N4")
    assert world.files("b") == ["image/1-N3.json", "image/1-N4.json", "info/1.json"]


def test_ingest_inside(world: World, butler: Butler) -> None:
    file = write_json(world.folder / "in/conf/7.json", {"n": 7})
    other = world.reader("a")
    with butler.transaction():
        butler.ingest("conf", file, mode="copy")
        assert butler.get("conf", visit=7) == {"n": 7}
        assert not other.exists("conf", visit=7)
    assert other.get("conf", visit=7) == {"n": 7}

    def job() -> None:
        with butler.transaction():
            butler.ingest("conf", write_json(world.folder / "in/conf/8.json", {"n": 8}), mode="move")
            raise KeyError("mine")

    raised(job)
    assert not butler.exists("conf", visit=8)
    # Nothing is lost: the file that was to be moved is where it was.
    assert (world.folder / "in/conf/8.json").exists()
    assert world.files("a") == ["conf/7.json"]


def test_a_moved_file_is_removed_from_its_place_when_the_transaction_ends(world: World, butler: Butler) -> None:
    file = write_json(world.folder / "in/conf/8.json", {"n": 8})
    with butler.transaction():
        butler.ingest("conf", file, mode="move")
    assert not file.exists()
    assert butler.get("conf", visit=8) == {"n": 8}


def test_implied_keys_are_known_inside(world: World) -> None:
    policy = """
    implied: {filter: [visit]}
    datasets: {image: {python: list, storage: Json, template: "{filter}/{visit:d}-{ccd}.json"}}
    """
    butler = world.butler("b", policy)
    with butler.transaction():
        butler.put([1], "image", visit=1, ccd="a", filter="r")
        butler.put([1], "image", visit=1, ccd="b")
        assert butler.query("image", where="filter = 'r'").count() == 2
    assert world.files("b") == ["r/1-a.json", "r/1-b.json"]
    assert world.reader("b").query("image", where="filter = 'r'").count() == 2


def test_one_transaction_inside_another_belongs_to_the_outer(world: World, butler: Butler) -> None:
    other = world.reader("a")
    with butler.transaction():
        butler.put({"n": 1}, "conf", visit=1)
        with butler.transaction():
            butler.put({"n": 2}, "conf", visit=2)
        assert not other.exists("conf", visit=2)
    assert other.query("conf").count() == 2


def test_only_this_butler_in_this_thread_sees_what_is_inside(butler: Butler) -> None:
    seen: list[Any] = []
    with butler.transaction():
        butler.put({"n": 1}, "conf", visit=1)
        thread = threading.Thread(target=lambda: seen.append(butler.exists("conf", visit=1)))
        thread.start()
        thread.join()
    assert seen == [False]
    assert butler.exists("conf", visit=1)


def test_two_threads_have_a_transaction_each(butler: Butler) -> None:
    barrier = threading.Barrier(2, timeout=20)
    errors: list[BaseException | None] = []

    def job(visit: int) -> None:
        def work() -> None:
            with butler.transaction():
                butler.put({"n": visit}, "conf", visit=visit)
                barrier.wait()
                assert not butler.exists("conf", visit=3 - visit)
                barrier.wait()

        errors.append(raised(work))

    threads = [threading.Thread(target=job, args=(visit,)) for visit in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [None, None]
    assert butler.query("conf").count() == 2


def test_a_butler_inside_a_transaction_cannot_be_pickled(butler: Butler) -> None:
    with butler.transaction(), pytest.raises(RepositoryError, match="transaction"):
        pickle.dumps(butler)
    pickle.loads(pickle.dumps(butler)).close()


def test_a_read_only_butler_has_no_transactions(world: World, butler: Butler) -> None:
    reader = world.reader("a")
    with pytest.raises(RepositoryError, match="outputs="):
        reader.transaction().__enter__()


def test_an_empty_transaction(butler: Butler) -> None:
    with butler.transaction() as inside:
        assert inside is butler
    assert butler.query("conf").count() == 0


def test_two_replacements_of_one_dataset_in_two_transactions(world: World, butler: Butler) -> None:
    butler.put({"n": 0}, "conf", visit=1)
    other = world.butler("a")
    with butler.transaction():
        butler.put({"n": 1}, "conf", visit=1, replace=True)
        other.put({"n": 2}, "conf", visit=1, replace=True)
    # The later commit wins; both say replace. There is one live dataset.
    assert butler.get("conf", visit=1) == other.get("conf", visit=1) == {"n": 1}
    assert butler.query("conf").count() == 1


def test_what_was_replaced_does_not_show_again_when_the_new_one_is_deleted(butler: Butler) -> None:
    butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    with butler.transaction():
        butler.put(Pair({"n": 2}, {"z": 1}), "pair", ID, replace=True)
        butler.delete("pair", ID)
        assert butler.query("pair").first().uuid is None  # type: ignore[union-attr]
        assert butler.get("pair", ID) == Pair({"n": 2}, {"z": 1})
    assert butler.get("pair", ID) == Pair({"n": 2}, {"z": 1})
    assert butler.query("pair").first().uuid is None  # type: ignore[union-attr]


def test_a_component_put_inside_by_another_composite_does_not_mask_the_outputs_pins(world: World) -> None:
    policy = """
    datasets:
      info: {python: dict, storage: Json, template: "info/{visit:d}.json"}
      image: {python: list, storage: Json, template: "image/{visit:d}-{ccd}.json"}
      exp: {composite: {image: image, info: info}}
    """
    parent = world.butler("b", policy)
    parent.put({"image": [1], "info": {"n": 1}}, "exp", visit=1, ccd="N3")
    child = world.butler("c", inputs="b")
    child.put(child.get("exp", visit=1, ccd="N3"), "exp", visit=1, ccd="N3")
    with child.transaction():
        child.put({"image": [2], "info": {"n": 2}}, "exp", visit=1, ccd="N4")
        assert child.get("exp.info", visit=1, ccd="N3") == {"n": 1}
        assert child.get("exp.info", visit=1, ccd="N4") == {"n": 2}
    assert child.get("exp.info", visit=1, ccd="N3") == {"n": 1}
    assert child.get("exp.info", visit=1, ccd="N4") == {"n": 2}


def test_a_copy_further_away_is_not_hidden_by_a_deletion_inside(world: World, butler: Butler) -> None:
    butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    child = world.butler("b", inputs="a")
    child.put(Pair({"n": 1}, {"z": 2}), "pair", ID, self_contained=True)
    with child.transaction():
        child.delete("pair", ID)
        child.delete("wcs", ID)
        assert child.get("wcs", ID) == {"n": 1}
        assert child.query("wcs").count() == 1
    assert child.get("wcs", ID) == {"n": 1}


def test_exact_follows_what_is_put_by_its_own_name_inside(butler: Butler) -> None:
    butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    with butler.transaction():
        butler.put({"n": 2}, "wcs", ID, replace=True)
        assert butler.get("pair", ID, resolve="exact") == Pair({"n": 2}, {"z": 1})
    assert butler.get("pair", ID, resolve="exact") == Pair({"n": 2}, {"z": 1})


def test_paths_that_differ_in_case_only(world: World) -> None:
    """They count as one, also for what is put in one transaction."""
    policy = 'keys: {name: str}\ndatasets:\n  note: {python: dict, storage: Json, template: "note-{name:s}.json"}\n'
    butler = world.butler("b", policy)
    with butler.transaction():
        refs = [butler.put({"n": n}, "note", name=name) for n, name in enumerate(("a", "A", "b"))]
        assert [butler.get("note", name=name)["n"] for name in ("a", "A", "b")] == [0, 1, 2]
    assert [str(ref.uri).rpartition("/")[2] for ref in refs] == ["note-a.json", "note-A~2.json", "note-b.json"]
    assert [ref.get() for ref in refs] == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_files_are_durable_before_they_have_names_and_folders_at_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("names of open files are looked up in /proc")
    butler = world.butler("b", POLICY, durability="full")
    butler.put({"n": 0}, "conf", visit=0)
    root = str(butler._current().need_output().root)
    seen: list[str] = []
    sync, link = os.fsync, os.link

    def fsync(place: int) -> None:
        seen.append(f"sync {os.path.relpath(os.readlink(f'/proc/self/fd/{place}'), root).partition('.part~')[0]}")
        sync(place)

    def named(source: str, place: str, **options: Any) -> None:
        seen.append(f"name {os.path.relpath(place, root)}")
        link(source, place, **options)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", named)
    with butler.transaction():
        for visit in (1, 2):
            butler.put({"n": visit}, "conf", visit=visit)
        assert seen == ["sync conf/", "name conf/1.json", "sync conf/", "name conf/2.json"]
    assert seen[4:] == ["sync conf"]
    seen.clear()
    butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    assert [what.partition(" ")[0] for what in seen[:4]] == ["sync", "sync", "name", "name"]
    assert sorted(seen[4:]) == ["sync .", "sync calib", "sync wcs"]


def test_many_puts_and_other_changes_in_one(world: World, butler: Butler) -> None:
    """What follows each other is recorded together where it may be, and in its order."""
    with butler.transaction():
        for visit in range(50):
            butler.put({"n": visit}, "conf", visit=visit)
        butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
        butler.put({"n": 2}, "wcs", ID, replace=True)
        for visit in range(40):
            butler.put({"n": visit + 100}, "conf", visit=visit, replace=True)
        butler.delete("conf", visit=49)
        for visit in range(60, 90):
            butler.put({"n": visit}, "conf", visit=visit)
    other = world.reader("a")
    expected = {visit: visit + 100 if visit < 40 else visit for visit in (*range(49), *range(60, 90))}
    assert {ref.data_id["visit"]: ref.get()["n"] for ref in other.query("conf")} == expected
    assert other.get("pair", ID) == Pair({"n": 2}, {"z": 1})
    assert len(butler.trashed("conf")) == 41
    assert other.verify().ok
