"""The trash: what is in it, and what comes back from it (design 6)."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from bunter import (
    Butler,
    DataIdError,
    DatasetExistsError,
    DatasetNotFoundError,
    DatasetTypeNotFoundError,
    IntegrityError,
    ParameterError,
    RepositoryError,
    Trashed,
    sky,
)
from tests.core_support import FRAMES, ID, TRACT_ID, Pair, World, frame, making_world, raised, trash_policy, write_json

POLICY = trash_policy()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with making_world(tmp_path) as made:
        yield made


@pytest.fixture
def butler(world: World) -> Butler:
    return world.butler("a", POLICY)


def wcs_of(butler: Butler) -> Any:
    return butler.get("wcs", ID)


# What is in it


def test_what_was_replaced_and_deleted_is_there_newest_first(world: World, butler: Butler) -> None:
    before = datetime.datetime.now(datetime.UTC)
    refs = [butler.put({"n": n}, "wcs", ID, replace=True) for n in range(3)]
    other = butler.put({"n": 9}, "coadd", tract=1)
    assert [item.uuid for item in butler.trashed()] == [refs[1].uuid, refs[0].uuid]
    butler.delete("coadd", tract=1)
    for one in (butler, world.reader("a")):
        assert [item.uuid for item in one.trashed()] == [other.uuid, refs[1].uuid, refs[0].uuid]
        assert [item.name for item in one.trashed("wcs")] == ["wcs", "wcs"]
    item = butler.trashed("wcs")[0]
    assert isinstance(item, Trashed)
    assert (item.name, item.data_id, item.size) == ("wcs", ID, os.path.getsize(world.folder / "a/wcs/1-N3~2.json"))
    assert item.uri == str(world.folder / "a/wcs/1-N3~2.json")
    assert item.get() == item.ref.get() == {"n": 1}
    assert item.trashed_at is not None
    assert before <= item.trashed_at <= datetime.datetime.now(datetime.UTC)
    assert repr(item).startswith("<Trashed wcs {'visit': 1, 'ccd': 'N3'} since 20")


def test_partial_data_ids_filter(butler: Butler) -> None:
    for visit in (1, 2):
        for ccd in ("N3", "N4"):
            butler.put({"n": visit}, "wcs", visit=visit, ccd=ccd)
            butler.delete("wcs", visit=visit, ccd=ccd)
    butler.put({}, "coadd", tract=1)
    butler.delete("coadd", tract=1)
    assert len(butler.trashed()) == 5
    assert {item.data_id["ccd"] for item in butler.trashed("wcs", visit=1)} == {"N3", "N4"}
    assert [item.data_id for item in butler.trashed("wcs", {"visit": 1}, ccd="N4")] == [{"visit": 1, "ccd": "N4"}]
    assert [item.name for item in butler.trashed(dataId={"visit": 2})] == ["wcs", "wcs"]
    assert butler.trashed("calib") == []
    with pytest.raises(DataIdError, match="tract"):
        butler.trashed("wcs", tract=1)
    with pytest.raises(DatasetTypeNotFoundError):
        butler.trashed("wsc")


def test_a_composite_in_the_trash_is_read_as_it_was_put(butler: Butler) -> None:
    butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    butler.delete("pair", ID)
    butler.put({"n": 2}, "wcs", ID, replace=True)
    (item,) = butler.trashed("pair")
    assert (item.size, item.uri) == (None, None)
    assert item.get() == Pair({"n": 1}, {"z": 1})
    assert item.get("wcs") == {"n": 1}


def test_names_walk_into_composites(butler: Butler) -> None:
    butler.put({"both": Pair({"n": 1}, {"z": 1})}, "outer", ID)
    butler.put({"n": 2}, "wcs", ID, replace=True)
    assert [item.name for item in butler.trashed("outer.both.wcs")] == ["wcs"]
    assert butler.restore("outer.both.wcs", ID, replace=True).get() == {"n": 1}


# What comes back


def test_delete_and_restore(world: World, butler: Butler) -> None:
    first = butler.put({"n": 1}, "wcs", ID)
    butler.delete("wcs", ID)
    back = butler.restore("wcs", ID)
    assert back == first
    assert (back.get(), back.uri, butler.trashed()) == ({"n": 1}, first.uri, [])
    assert world.reader("a").get("wcs", ID) == {"n": 1}
    assert world.files("a") == ["wcs/1-N3.json"]


def test_the_newest_comes_back_or_the_one_that_is_named(butler: Butler) -> None:
    refs = [butler.put({"n": n}, "wcs", ID, replace=True) for n in range(4)]
    assert butler.restore("wcs", ID, replace=True).uuid == refs[2].uuid
    # It went there last.
    assert butler.restore("wcs", ID, replace=True).uuid == refs[3].uuid
    assert butler.restore("wcs", uuid=refs[0].uuid, replace=True).get() == {"n": 0}
    assert butler.restore("wcs", ID, uuid=str(refs[1].uuid), replace=True).get() == {"n": 1}
    assert butler.restore(refs[2], replace=True).get() == {"n": 2}
    assert butler.restore(butler.trashed("wcs")[-1], replace=True).get() == {"n": 3}
    assert len(butler.trashed()) == 3


def test_what_is_there_is_not_replaced_unless_asked(butler: Butler) -> None:
    old = butler.put({"n": 1}, "wcs", ID)
    new = butler.put({"n": 2}, "wcs", ID, replace=True)
    with pytest.raises(DatasetExistsError) as caught:
        butler.restore("wcs", ID)
    for word in (str(old.uuid), str(new.uuid), "wcs {'visit': 1, 'ccd': 'N3'}", "replace=True"):
        assert word in str(caught.value)
    assert wcs_of(butler) == {"n": 2}
    butler.restore("wcs", ID, replace=True)
    assert wcs_of(butler) == {"n": 1}
    assert [item.uuid for item in butler.trashed()] == [new.uuid]


def test_composites_repin_as_after_a_put_by_its_own_name(butler: Butler) -> None:
    put = butler.put({"both": Pair({"n": 1}, {"z": 1})}, "outer", ID)
    butler.put({"n": 2}, "wcs", ID, replace=True)
    assert butler.get("outer", ID) == {"both": Pair({"n": 2}, {"z": 1})}
    butler.restore("wcs", ID, replace=True)
    assert butler.get("outer", ID) == {"both": Pair({"n": 1}, {"z": 1})}
    assert "trash" not in str(butler.plan("outer", ID))
    assert put.get("both.wcs") == {"n": 1}


def test_a_put_composite_comes_back_with_the_pins_that_it_had(butler: Butler) -> None:
    first = butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    butler.delete("pair", ID)
    butler.put({"n": 2}, "wcs", ID, replace=True)
    assert butler.get("pair", ID) == Pair({"n": 2}, {"z": 1})
    assert butler.restore("pair", ID) == first
    assert butler.get("pair", ID) == Pair({"n": 1}, {"z": 1})
    assert wcs_of(butler) == {"n": 2}
    butler.put(Pair({"n": 3}, {"z": 3}), "pair", ID, replace=True)
    assert butler.restore("pair", ID, replace=True).get() == Pair({"n": 1}, {"z": 1})


def test_a_nested_composite_comes_back_into_the_outer_one(butler: Butler) -> None:
    butler.put({"both": Pair({"n": 1}, {"z": 1})}, "outer", ID)
    butler.put(Pair({"n": 2}, {"z": 2}), "pair", ID, replace=True)
    assert butler.get("outer", ID) == {"both": Pair({"n": 2}, {"z": 2})}
    butler.restore("pair", ID, replace=True)
    assert butler.get("outer", ID) == {"both": Pair({"n": 1}, {"z": 1})}


def test_a_composite_of_which_something_was_purged_stays_in_the_trash(butler: Butler) -> None:
    butler.put({"both": Pair({"n": 1}, {"z": 1})}, "outer", ID)
    butler.delete("outer", ID)
    butler.delete("pair", ID)
    butler.delete("wcs", ID)
    (gone,) = butler.trashed("wcs")
    butler.purge("wcs", force=True)
    with pytest.raises(
        DatasetNotFoundError, match=rf"outer .*'wcs', wcs with UUID {gone.uuid}, was purged; .*1-N3.json"
    ):
        butler.restore("outer", ID)
    assert butler.query("outer").count() == 0
    assert [item.name for item in butler.trashed()] == ["pair", "outer"]


def test_a_file_that_is_gone_or_has_another_size(world: World, butler: Butler) -> None:
    butler.put({"n": 1}, "wcs", ID)
    butler.put({"n": 2}, "wcs", ID, replace=True)
    path = world.folder / "a/wcs/1-N3.json"
    content = path.read_bytes()
    path.write_bytes(content + b" ")
    with pytest.raises(IntegrityError, match=r"stays in the trash.*1-N3\.json has"):
        butler.restore("wcs", ID, replace=True)
    path.unlink()
    with pytest.raises(IntegrityError, match="is gone"):
        butler.restore("wcs", ID, replace=True)
    assert wcs_of(butler) == {"n": 2}
    assert len(butler.trashed()) == 1
    path.write_bytes(content)
    assert butler.restore("wcs", ID, replace=True).get() == {"n": 1}


def test_what_is_not_there_is_told_with_what_is(butler: Butler) -> None:
    old = butler.put({"n": 1}, "wcs", ID)
    butler.delete(old)
    for call in (
        lambda: butler.restore("wcs", visit=2, ccd="N3"),
        lambda: butler.restore("wcs", ID, uuid=uuid4()),
        lambda: butler.restore("wcs", uuid=uuid4()),
    ):
        with pytest.raises(DatasetNotFoundError, match=r"purged.*in the trash: \{'visit': 1, 'ccd': 'N3'\}"):
            call()
    butler.purge()
    for again in (lambda: butler.restore(old), lambda: butler.restore("wcs", ID)):
        with pytest.raises(DatasetNotFoundError, match=r"it was purged.*in the trash: none"):
            again()
    with pytest.raises(ParameterError, match="no UUID"):
        butler.restore("wcs", ID, uuid="12")
    with pytest.raises(ParameterError, match="restore takes"):
        butler.restore(12)  # type: ignore[arg-type]


def test_a_data_id_that_does_not_say_which(butler: Butler) -> None:
    for ccd in ("N3", "N4"):
        butler.put({}, "wcs", visit=1, ccd=ccd)
        butler.delete("wcs", visit=1, ccd=ccd)
    with pytest.raises(DataIdError, match=r"'N4'.*'N3'"):
        butler.restore("wcs", visit=1)
    assert len(butler.trashed()) == 2


def test_what_is_back_already_is_no_fault(butler: Butler) -> None:
    ref = butler.put({"n": 1}, "wcs", ID)
    butler.delete(ref)
    assert butler.restore(ref) == butler.restore(ref) == ref


def test_a_composite_that_was_never_put_cannot_come_back(butler: Butler) -> None:
    butler.put({"n": 1}, "wcs", ID)
    butler.put({"z": 1}, "calib", ID)
    ref = butler.query("pair").first()
    assert ref is not None
    with pytest.raises(DatasetNotFoundError, match="never put"):
        butler.restore(ref)


def test_a_file_that_was_ingested_in_place(world: World, butler: Butler) -> None:
    path = write_json(world.folder / "elsewhere/5.json", {"n": 5})
    butler.ingest("coadd", path, template="{tract:d}.json", scan="full")
    butler.delete("coadd", tract=5)
    path.write_text('{"n": 50}')
    with pytest.raises(IntegrityError):
        butler.restore("coadd", tract=5)
    path.write_text('{"n": 5}')
    assert butler.restore("coadd", tract=5).get() == {"n": 5}


def test_part_datasets_go_and_come_back_together(world: World) -> None:
    big = world.butler("big", FRAMES)
    big.put(frame(), "calexp:sfm", ID)
    big.put(frame(wcs={"n": 1}, photo_calib={"n": 1}), "calexp:jointcal", TRACT_ID)
    big.copy_to(world.folder / "small", ["calexp:sfm.psf", "calexp:sfm.wcs"])
    small = world.butler("small")
    assert not small.exists("calexp:sfm", ID)
    small.delete("calexp:sfm", ID)
    assert sorted(item.name for item in small.trashed("calexp:sfm")) == ["calexp:sfm.psf", "calexp:sfm.wcs"]
    assert [item.get() for item in small.trashed("calexp:sfm.psf")] == [{"sigma": 2.0}]
    assert not small.exists("calexp:sfm.psf", ID)
    small.restore("calexp:sfm", ID)
    assert small.get("calexp:sfm.psf", ID) == {"sigma": 2.0}
    assert small.get("calexp:sfm.wcs", ID) == {"crval": 0}
    assert small.trashed() == []


def test_only_the_output_has_a_trash(world: World, butler: Butler) -> None:
    butler.put({"n": 1}, "wcs", ID)
    butler.put({"n": 2}, "wcs", ID, replace=True)
    child = world.butler("b", inputs="a")
    assert child.trashed() == []
    with pytest.raises(DatasetNotFoundError, match=f"in the trash of {world.folder / 'b'}"):
        child.restore("wcs", ID)
    with pytest.raises(DatasetNotFoundError, match=f"it is in the parent {world.folder / 'a'}"):
        child.delete("wcs", ID)
    with pytest.raises(RepositoryError, match="outputs="):
        world.reader("a").restore("wcs", ID)


def test_a_wcs_that_comes_back_moves_the_footprint(world: World) -> None:
    astropy = pytest.importorskip("astropy.wcs")
    numpy = pytest.importorskip("numpy")
    from bunter import Exposure

    policy = """
datasets:
  raw: {python: bunter.Exposure, storage: FitsExposure, template: "raw/{visit:d}.fits"}
  fit: {python: astropy.wcs.WCS, storage: FitsWcs, template: "fit/{visit:d}.fits"}
  cal: {base: raw, composite: {wcs: fit}}
"""

    def wcs(ra: float) -> Any:
        made = astropy.WCS(naxis=2)
        made.wcs.ctype, made.wcs.crpix = ["RA---TAN", "DEC--TAN"], [5, 5]
        made.wcs.crval, made.wcs.cdelt = [ra, 0], [-1e-3, 1e-3]
        made.wcs.set()
        made.array_shape = made.pixel_shape = (10, 10)
        return made

    butler = world.butler("sky", policy)
    image = numpy.ones((10, 10), "f4")
    butler.put(Exposure(image=image, wcs=wcs(10)), "raw", visit=1)
    butler.put(Exposure(image=image, wcs=wcs(20)), "cal", visit=1)
    butler.put(wcs(30), "fit", visit=1, replace=True)

    def at(ra: float) -> int:
        return butler.query("cal", region=sky.Circle(ra, 0, 0.01)).count()

    assert (at(20), at(30)) == (0, 1)
    butler.restore("fit", visit=1, replace=True)
    assert (at(20), at(30)) == (1, 0)


# Inside transactions


def test_restore_in_a_transaction_is_seen_at_its_end(world: World, butler: Butler) -> None:
    old = butler.put({"n": 1}, "wcs", ID)
    butler.put({"n": 2}, "wcs", ID, replace=True)
    butler.put(Pair({"n": 2}, {"z": 1}), "pair", ID)
    other = world.reader("a")
    with butler.transaction():
        back = butler.restore("wcs", ID, replace=True)
        assert back.uuid == old.uuid
        assert wcs_of(butler) == back.get() == {"n": 1}
        assert butler.get("pair", ID) == Pair({"n": 1}, {"z": 1})
        assert [item.get() for item in butler.trashed("wcs")] == [{"n": 2}]
        assert other.get("wcs", ID) == {"n": 2}
    assert other.get("wcs", ID) == back.get() == {"n": 1}
    assert other.get("pair", ID) == Pair({"n": 1}, {"z": 1})
    assert [item.get() for item in other.trashed("wcs")] == [{"n": 2}]


def test_a_transaction_that_fails_restores_nothing(butler: Butler) -> None:
    butler.put({"n": 1}, "wcs", ID)
    butler.put({"n": 2}, "wcs", ID, replace=True)

    def job() -> None:
        with butler.transaction():
            butler.restore("wcs", ID, replace=True)
            raise KeyError("mine")

    assert isinstance(raised(job), KeyError)
    assert wcs_of(butler) == {"n": 2}
    assert [item.get() for item in butler.trashed()] == [{"n": 1}]


def test_what_a_transaction_itself_deleted_or_replaced(butler: Butler) -> None:
    first = butler.put({"n": 1}, "wcs", ID)
    with butler.transaction():
        butler.delete("wcs", ID)
        assert [(item.uuid, item.trashed_at) for item in butler.trashed()] == [(first.uuid, None)]
        assert butler.restore("wcs", ID) == first
        assert butler.trashed() == []
    assert (wcs_of(butler), butler.trashed()) == ({"n": 1}, [])
    with butler.transaction():
        second = butler.put({"n": 2}, "wcs", ID, replace=True)
        third = butler.put({"n": 3}, "wcs", ID, replace=True)
        assert butler.restore("wcs", ID, replace=True).uuid == second.uuid
        assert wcs_of(butler) == {"n": 2}
        assert {item.uuid for item in butler.trashed()} == {first.uuid, third.uuid}
        with pytest.raises(DatasetExistsError):
            butler.restore("wcs", uuid=first.uuid)
        butler.restore("wcs", uuid=first.uuid, replace=True)
        assert wcs_of(butler) == {"n": 1}
        butler.delete("wcs", ID)
        assert not butler.exists("wcs", ID)
        butler.restore("wcs", uuid=third.uuid)
        assert wcs_of(butler) == {"n": 3}
    assert wcs_of(butler) == {"n": 3}
    assert {item.uuid for item in butler.trashed()} == {first.uuid, second.uuid}


def test_a_composite_in_a_transaction(world: World, butler: Butler) -> None:
    butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    butler.delete("pair", ID)
    with butler.transaction():
        butler.restore("pair", ID)
        assert butler.get("pair", ID) == Pair({"n": 1}, {"z": 1})
        butler.put({"n": 2}, "wcs", ID, replace=True)
        assert butler.get("pair", ID) == Pair({"n": 2}, {"z": 1})
    assert world.reader("a").get("pair", ID) == Pair({"n": 2}, {"z": 1})


def test_others_put_the_same_meanwhile(world: World, butler: Butler) -> None:
    butler.put({"n": 1}, "wcs", ID)
    butler.delete("wcs", ID)
    other = world.butler("a")

    def job() -> None:
        with butler.transaction():
            butler.put({}, "coadd", tract=1)
            butler.restore("wcs", ID)
            other.put({"n": 2}, "wcs", ID)

    error = raised(job)
    assert isinstance(error, DatasetExistsError)
    assert "replace=True" in str(error)
    assert wcs_of(butler) == {"n": 2}
    assert not butler.exists("coadd", tract=1)
    with butler.transaction():
        butler.restore("wcs", ID, replace=True)
        other.put({"n": 3}, "wcs", ID, replace=True)
    assert wcs_of(butler) == {"n": 1}


def test_others_purge_it_meanwhile(world: World, butler: Butler) -> None:
    butler.put({"n": 1}, "wcs", ID)
    butler.delete("wcs", ID)

    def job() -> None:
        with butler.transaction():
            butler.put({}, "coadd", tract=1)
            butler.restore("wcs", ID)
            world.butler("a").purge()

    error = raised(job)
    assert isinstance(error, DatasetNotFoundError)
    assert "was purged from the trash" in str(error)
    assert not butler.exists("wcs", ID)
    assert not butler.exists("coadd", tract=1)
