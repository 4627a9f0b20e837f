"""Tests of registries: trash, files, parts, implied facts, pins, precursors."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

from ..dataid import DataId
from ..errors import BunterError, DataIdError
from ..registry.interface import Changes, DatasetTaken, NewDataset, NotRestored, PathTaken, Precursor, Record
from .refusals import refusal
from .registry_examples import RegistryUnderTest, composite, dataset, one, pin_of, stored_file


class LinksInRegistry(RegistryUnderTest):
    """Trash, files, parts, implied facts, pins, precursors."""

    # --- trash ---------------------------------------------------------------------------------------------

    def test_the_trash(self, tmp_path: Path) -> None:
        """What is in it has no data ID any more, but still its UUID; the data ID is free."""
        registry = self.registry(tmp_path)
        old, new = dataset(one(1)), dataset(one(1))
        registry.apply([Changes([old])])
        registry.apply([Changes(trashed=[("raw", old.uuid), ("raw", uuid4()), ("unknown", uuid4())])])
        assert registry.find("raw", one(1)) is None
        assert registry.select("raw", {}) == []
        assert registry.data_ids("raw", {}) == []
        assert registry.counts() == {"raw": 0}
        gone = registry.by_uuid("raw", old.uuid)
        assert gone is not None
        assert (gone.live, gone.file) == (False, old.file)
        registry.apply([Changes([new])])
        record = registry.find("raw", one(1))
        assert record is not None
        assert record.uuid == new.uuid
        assert {r.uuid: r.live for r in registry.everything()} == {old.uuid: False, new.uuid: True}
        registry.close()

    def test_replacing(self, tmp_path: Path) -> None:
        """Trashes the old dataset in the same transaction, if there is one; trashing comes before recording."""
        registry = self.registry(tmp_path)
        first, second, third = (dataset(one(1), replaces=number > 0) for number in range(3))
        registry.apply([Changes([second])])
        registry.apply([Changes(trashed=[("raw", second.uuid)])])
        registry.apply([Changes([first])])
        registry.apply([Changes([third])])
        assert {r.uuid: r.live for r in registry.everything()} == {
            first.uuid: False, second.uuid: False, third.uuid: True,
        }  # fmt: skip
        fourth = dataset(one(1))
        registry.apply([Changes([fourth], trashed=[("raw", third.uuid)])])
        record = registry.find("raw", one(1))
        assert record is not None
        assert record.uuid == fourth.uuid
        registry.close()

    def test_recorded_as_trash(self, tmp_path: Path) -> None:
        """A dataset can be brought along for its UUID alone."""
        registry = self.registry(tmp_path)
        live, dead = dataset(one(1)), dataset(one(1), live=False)
        registry.apply([Changes([live, dead])])
        record, other = registry.find("raw", one(1)), registry.by_uuid("raw", dead.uuid)
        assert record is not None
        assert other is not None
        assert (record.uuid, other.live) == (live.uuid, False)
        registry.close()

    def test_purging(self, tmp_path: Path) -> None:
        """Forgets what is in the trash, and nothing else; tells which of our files nobody needs any more."""
        registry = self.registry(tmp_path)
        shared = stored_file("/ingested.fits", owned=False)
        kept, ours, theirs, two = (
            dataset(one(1), file=stored_file("kept")),
            dataset(one(2), file=stored_file("ours")),
            dataset(one(3), file=shared),
            dataset(one(4), file=shared),
        )
        made = composite(one(1), [pin_of("raw", kept)], precursors=[Precursor("raw", ours.data_id, ours.uuid, "")])
        gone = composite(one(2), [pin_of("raw", kept)], precursors=[Precursor("raw", ours.data_id, ours.uuid, "")])
        registry.apply([Changes([kept, ours, theirs, two, made, gone])])
        registry.apply([Changes(trashed=[("raw", ours.uuid), ("raw", theirs.uuid), ("calexp", gone.uuid)])])
        stranger = Record("raw", DataId(one(9)), uuid4(), "", False, stored_file("stranger"), None, 0, "")
        other = Record("other", DataId(), uuid4(), "", False, None, None, 0, "")
        done = registry.purge([*registry.everything(), stranger, other])
        assert {record.uuid for record in done.records} == {ours.uuid, theirs.uuid, gone.uuid}
        assert done.files == [ours.file]
        assert {r.uuid for r in registry.everything()} == {kept.uuid, two.uuid, made.uuid}
        assert registry.by_uuid("raw", ours.uuid) is None
        assert not registry.path_taken("ours")
        assert registry.path_taken("kept")
        assert set(registry.files_at(["kept", "/ingested.fits", "ours"])) == {"kept", "/ingested.fits"}
        assert [pin.component for pin in registry.pins("calexp", made.uuid)] == ["raw"]
        assert len(registry.precursors("calexp", made.uuid)) == 1
        assert registry.pins("calexp", gone.uuid) == []
        assert registry.precursors("calexp", gone.uuid) == []
        assert [r.uuid for r in registry.pinned_by("raw", one(1), None)] == [made.uuid]
        registry.apply([Changes(trashed=[("raw", two.uuid)])])
        assert registry.purge(list(registry.everything())).files == []
        assert registry.files_at(["/ingested.fits"]) == {}
        registry.apply([Changes([dataset(one(2), file=stored_file("ours"))])])
        registry.close()

    def test_purging_one_of_two_parts(self, tmp_path: Path) -> None:
        """A part dataset has its whole's UUID, but is a dataset of its own."""
        registry = self.registry(tmp_path)
        whole = dataset(one(1), file=stored_file("whole"))
        part = dataset(one(1), uuid=whole.uuid, part="wcs", file=stored_file("part"))
        registry.apply([Changes([whole, part])])
        registry.apply([Changes(trashed=[("raw", whole.uuid)])])
        trashed = {record.part: record for record in registry.everything()}
        assert registry.purge([trashed["wcs"]]).files == [part.file]
        assert [record.part for record in registry.everything()] == [""]
        assert registry.purge([trashed[""]]).files == [whole.file]
        assert list(registry.everything()) == []
        registry.close()

    def test_what_is_in_the_trash(self, tmp_path: Path) -> None:
        """Comes newest first by when it went there, whatever the clock says, and can be asked for by its data ID."""
        registry = self.registry(tmp_path)
        news = [dataset(one(visit, ccd), written_at=5) for visit in (1, 2) for ccd in ("N1", "N2")]
        part = dataset(one(1, "N1"), part="wcs", uuid=news[0].uuid)
        registry.apply([Changes([*news, part])])
        assert registry.trashed("raw", {}) == registry.trashed("unknown", {}) == []
        order = [2, 0, 3, 1]
        for number in order:
            registry.apply([Changes(trashed=[("raw", news[number].uuid)])])
        found = self.again(registry).trashed("raw", {})
        assert [record.uuid for record in found if not record.part] == [news[n].uuid for n in reversed(order)]
        assert [record.part for record in found if record.uuid == news[0].uuid] == ["wcs", ""]
        times = [record.trashed_at or 0 for record in found if not record.part]
        assert sorted(set(times), reverse=True) == times
        assert all(not record.live for record in found)
        asked = registry.trashed("raw", {"visit": 2, "tract": 9})
        assert [record.uuid for record in asked] == [news[3].uuid, news[2].uuid]
        before = registry.trashed("raw", {}, before=times[2])
        assert {record.uuid for record in before} == {news[2].uuid, news[0].uuid}
        registry.apply([Changes([dataset(one(3))], trashed=[("raw", news[1].uuid)])])
        assert registry.trashed("raw", {})[0].trashed_at == times[0]
        registry.close()

    def test_later_changes_trash_later(self, tmp_path: Path) -> None:
        """Changes that are made visible together went to the trash in their order, too."""
        registry = self.registry(tmp_path)
        news = [dataset(one(1), replaces=True) for _ in range(4)]
        registry.apply([Changes([new]) for new in news])
        assert [record.uuid for record in registry.trashed("raw", {})] == [new.uuid for new in reversed(news[:3])]
        registry.close()

    def test_restoring(self, tmp_path: Path) -> None:
        """A dataset comes back with its parts; what is in its place makes room, or is in the way; what is gone, too."""
        registry = self.registry(tmp_path)
        old, part = dataset(one(1)), dataset(one(1), part="wcs")
        part.uuid = old.uuid
        new = dataset(one(1), replaces=True)
        registry.apply([Changes([old, part])])
        registry.apply([Changes(trashed=[("raw", old.uuid)])])
        registry.apply([Changes([new])])
        error = refusal(NotRestored, registry.apply, [Changes([dataset(one(2))], restored=[("raw", old.uuid, False)])])
        assert (error.type, error.uuid) == ("raw", old.uuid)
        assert error.existing == registry.find("raw", one(1))
        assert registry.find("raw", one(2)) is None
        registry.apply([Changes(restored=[("raw", old.uuid, True)])])
        record = registry.find("raw", one(1))
        assert record is not None
        assert (record.uuid, record.live, record.trashed_at, record.file) == (old.uuid, True, None, old.file)
        assert [r.uuid for r in registry.trashed("raw", {})] == [new.uuid]
        registry.apply([Changes(restored=[("raw", old.uuid, False)])])
        registry.apply([Changes(trashed=[("raw", old.uuid)], restored=[("raw", new.uuid, False)])])
        record = registry.find("raw", one(1))
        assert record is not None
        assert record.uuid == new.uuid
        registry.purge(registry.trashed("raw", {}))
        for type_, uuid in (("raw", old.uuid), ("raw", uuid4()), ("unknown", uuid4())):
            assert refusal(NotRestored, registry.apply, [Changes(restored=[(type_, uuid, True)])]).existing is None
        registry.close()

    def test_restoring_repins(self, tmp_path: Path) -> None:
        """Composites follow what comes back as they follow what is put; those in the trash stay as they were."""
        registry = self.registry(tmp_path)
        first, second = dataset(one(1)), dataset(one(1), replaces=True)
        made, dead = composite(one(1), [pin_of("raw", first)]), composite(one(2), [pin_of("raw", first)])
        registry.apply([Changes([first, made, dead])])
        registry.apply(
            [Changes([second], trashed=[("calexp", dead.uuid)], repins=[("raw", first.data_id, second.uuid)])]
        )
        changes = Changes(restored=[("raw", first.uuid, True)], repins=[("raw", first.data_id, first.uuid)])
        registry.apply([changes])
        assert [pin.uuid for pin in registry.pins("calexp", made.uuid)] == [first.uuid]
        registry.apply([Changes(trashed=[("raw", first.uuid)])])
        registry.apply([Changes(restored=[("raw", second.uuid, False)], repins=[("raw", first.data_id, second.uuid)])])
        assert [pin.uuid for pin in registry.pins("calexp", made.uuid)] == [second.uuid]
        assert [pin.uuid for pin in registry.pins("calexp", dead.uuid)] == [first.uuid]
        registry.close()

    def test_purging_what_is_pinned(self, tmp_path: Path) -> None:
        """It stays, and who pins it is told, live or not; unless by force, after which the pin says where it was."""
        registry = self.registry(tmp_path)
        leaf, other = dataset(one(1), file=stored_file("leaf")), dataset(one(2), file=stored_file("other"))
        made = composite(one(1), [pin_of("raw", leaf, place="where it is")])
        dead = composite(one(2), [pin_of("raw", other)])
        registry.apply([Changes([leaf, other, made, dead])])
        registry.apply([Changes(trashed=[("raw", leaf.uuid), ("raw", other.uuid), ("calexp", dead.uuid)])])
        records = {record.uuid: record for record in registry.everything()}
        assert [r.uuid for r in registry.pinning(records[leaf.uuid])] == [made.uuid]
        assert [r.live for r in registry.pinning(records[other.uuid])] == [False]
        assert registry.pinning(records[made.uuid]) == []
        done = registry.purge([records[leaf.uuid], records[other.uuid]])
        assert (done.records, done.files) == ([], [])
        assert {record.uuid: [h.uuid for h in holders] for record, holders in done.kept} == {
            leaf.uuid: [made.uuid], other.uuid: [dead.uuid],
        }  # fmt: skip
        done = registry.purge([records[dead.uuid], records[other.uuid]])
        assert (len(done.records), done.kept, done.files) == (2, [], [other.file])
        done = registry.purge([records[leaf.uuid], records[made.uuid]], force=True)
        assert ([record.uuid for record in done.records], done.kept) == ([leaf.uuid], [])
        (pin,) = registry.pins("calexp", made.uuid)
        assert pin.uuid == leaf.uuid
        assert pin.place.endswith("leaf")
        registry.close()

    def test_pinning_a_part(self, tmp_path: Path) -> None:
        """A part dataset is needed as that part alone; a whole for all of its parts."""
        registry = self.registry(tmp_path)
        uuid = uuid4()
        news = [dataset(one(1), uuid=uuid, part=part) for part in ("", "wcs", "psf")]
        made = composite(one(1), [pin_of("wcs", news[1], part="wcs")])
        registry.apply([Changes([*news, made])])
        needed = {r.part: [h.uuid for h in registry.pinning(r)] for r in registry.everything() if r.uuid == uuid}
        assert needed == {"": [made.uuid], "wcs": [made.uuid], "psf": []}
        registry.close()

    # --- files ---------------------------------------------------------------------------------------------

    def test_a_path_is_taken_once(self, tmp_path: Path) -> None:
        """And one that differs only in case with it, for files that the repository makes."""
        registry = self.registry(tmp_path)
        registry.apply([Changes([dataset(one(1), file=stored_file("a/B.fits"))])])
        for path in ("a/B.fits", "A/b.FITS"):
            assert registry.path_taken(path)
            new = dataset(one(2), file=stored_file(path))
            assert refusal(PathTaken, registry.apply, [Changes([new])]).path == path
        assert not registry.path_taken("a/B.fit")
        assert registry.counts() == {"raw": 1}
        assert list(registry.files_at(["a/B.fits", "a/b.fits"])) == ["a/B.fits"]
        refusal(PathTaken, registry.apply, [Changes([dataset(one(2), file=stored_file("a/B.fits", owned=False))])])
        registry.close()

    def test_files_ingested_in_place(self, tmp_path: Path) -> None:
        """Are shared by datasets, told apart by case, and known as they were seen last.

        What was ingested before such a file was changed is still known as it was.
        """
        registry = self.registry(tmp_path)
        first = stored_file("/data/A.fits", owned=False, modified=1, checksum=None, layout={"hdus": [1]})
        seen = stored_file("/data/A.fits", owned=False, modified=1, checksum="11" * 16, layout={})
        changed = stored_file("/data/A.fits", owned=False, modified=2, checksum=None, layout={"hdus": [2]})
        news = [dataset(one(1), file=first), dataset(one(2), file=first), dataset(one(1), "flat", file=first)]
        lower = dataset(one(5), file=stored_file("/data/a.fits", owned=False))
        registry.apply([Changes([*news, lower])])
        assert [r.uuid for r in registry.datasets_of_file("/data/a.fits")] == [lower.uuid]
        assert {r.uuid for r in registry.datasets_of_file("/data/A.fits")} == {new.uuid for new in news}
        registry.apply([Changes([dataset(one(3), file=seen)])])
        merged = stored_file("/data/A.fits", owned=False, modified=1, checksum="11" * 16, layout={"hdus": [1]})
        assert registry.files_at(["/data/A.fits"]) == {"/data/A.fits": merged}
        registry.apply([Changes([dataset(one(1), file=changed, replaces=True)])])
        assert registry.files_at(["/data/A.fits"]) == {"/data/A.fits": changed}
        assert [r.file for r in registry.datasets_of_file("/data/A.fits")] == [changed]
        old = registry.by_uuid("raw", news[0].uuid)
        assert old is not None
        assert old.file == merged
        assert registry.purge([old]).files == []
        other = registry.by_uuid("raw", news[1].uuid)
        assert other is not None
        assert other.file == merged
        refusal(PathTaken, registry.apply, [Changes([dataset(one(4), file=stored_file("/data/A.fits"))])])
        registry.close()

    def test_one_change_shares_a_file_of_its_own(self, tmp_path: Path) -> None:
        """One file, many datasets: they are recorded together."""
        registry = self.registry(tmp_path)
        file = stored_file("many.fits")
        news = [dataset(one(1, ccd), file=file) for ccd in ("N1", "N2", "N3")]
        registry.apply([Changes(news)])
        registry.apply([Changes(trashed=[("raw", news[0].uuid), ("raw", news[1].uuid)])])
        assert registry.purge(list(registry.everything())).files == []
        registry.apply([Changes(trashed=[("raw", news[2].uuid)])])
        assert registry.purge(list(registry.everything())).files == [file]
        registry.close()

    # --- parts ---------------------------------------------------------------------------------------------

    def test_part_datasets(self, tmp_path: Path) -> None:
        """Are found under their part's name; a whole wins."""
        registry = self.registry(tmp_path)
        uuid = uuid4()
        wcs = dataset(one(1), uuid=uuid, part="wcs")
        psf = dataset(one(1), uuid=uuid, part="psf")
        registry.apply([Changes([wcs, psf])])
        assert registry.find("raw", one(1)) is None
        assert registry.find("raw", one(1), "mask") is None
        assert registry.by_uuid("raw", uuid) is None
        for new in (wcs, psf):
            for record in (registry.find("raw", one(1), new.part), registry.by_uuid("raw", uuid, new.part)):
                assert record is not None
                assert (record.part, record.file) == (new.part, new.file)
        refusal(DatasetTaken, registry.apply, [Changes([dataset(one(1), part="wcs")])])
        whole = dataset(one(1), uuid=uuid)
        registry.apply([Changes([whole])])
        for part in ("", "wcs", "mask"):
            for record in (registry.find("raw", one(1), part), registry.by_uuid("raw", uuid, part)):
                assert record is not None
                assert (record.part, record.file) == ("", whole.file)
        assert registry.data_ids("raw", {}) == [(1, "N1")]
        registry.close()

    def test_looking_for_parts(self, tmp_path: Path) -> None:
        """A search for a part finds wholes and datasets of that part alone; one for wholes finds wholes."""
        registry = self.registry(tmp_path)
        assert registry.parts("raw") == []
        whole, wcs, psf, gone = (
            dataset(one(1)),
            dataset(one(2), part="wcs"),
            dataset(one(3), part="psf"),
            dataset(one(4), part="mask"),
        )
        registry.apply([Changes([whole, wcs, psf, gone])])
        registry.apply([Changes(trashed=[("raw", gone.uuid)])])
        assert sorted(registry.parts("raw")) == ["psf", "wcs"]
        assert registry.counts() == {"raw": 1}
        for part, visits in (("", [1]), ("wcs", [1, 2]), ("psf", [1, 3]), ("mask", [1]), ("never", [1])):
            assert [record.data_id["visit"] for record in registry.select("raw", {}, part=part)] == visits
            assert sorted(registry.data_ids("raw", {}, part=part)) == [(visit, "N1") for visit in visits]
        registry.close()

    # --- metadata ------------------------------------------------------------------------------------------

    def test_metadata(self, tmp_path: Path) -> None:
        """What was recorded of the headers comes back with the data ID, of live datasets that have some."""
        registry = self.registry(tmp_path)
        header = {"date": "2015-03-01", "exposure_time": 30.5, "n": 2**60, "é": None, "flag": True}
        rich, plain, dead = dataset(one(1), metadata=header), dataset(one(2)), dataset(one(3), metadata=header)
        assert registry.metadata("raw", {}) == []
        registry.apply([Changes([rich, plain, dead])])
        registry.apply([Changes(trashed=[("raw", dead.uuid)])])
        assert self.again(registry).metadata("raw", {}) == [(rich.data_id, header)]
        assert registry.metadata("raw", {"visit": 2}) == []
        assert registry.metadata("raw", {"visit": 1, "tract": 3}) == [(rich.data_id, header)]
        registry.close()

    # --- implied facts -------------------------------------------------------------------------------------

    def test_implied_facts(self, tmp_path: Path) -> None:
        """Are recorded once; the same again is no fault, another is one, and changes nothing."""
        registry = self.registry(tmp_path)
        r, g = ("filter", (("visit", 1),)), ("filter", (("visit", 2),))
        both = ("airmass", (("visit", 1), ("ccd", "N1")))
        registry.apply([Changes(implied={r: "r", g: "g", both: 1.5})])
        registry.apply([Changes(implied={r: "r"})])
        assert registry.implied("filter", {"visit": 1}) == "r"
        assert registry.implied("airmass", {"ccd": "N1", "visit": 1}) == 1.5
        assert registry.implied("filter", {"visit": 3}) is None
        assert registry.implied_values("filter") == {(1,): "r", (2,): "g"}
        assert registry.implied_values("airmass") == {("N1", 1): 1.5}
        error = refusal(DataIdError, registry.apply, [Changes([dataset(one(1))], {r: "i"})])
        assert "filter='i'" in str(error)
        assert "filter='r'" in str(error)
        refusal(DataIdError, registry.apply, [Changes(implied={r: "r"}), Changes(implied={r: "i"})])
        assert registry.counts() == {}
        assert self.again(registry).implied("filter", {"visit": 1}) == "r"
        registry.close()

    # --- pins ----------------------------------------------------------------------------------------------

    def test_pins(self, tmp_path: Path) -> None:
        """Come back as they were, members and absent components too; but for the place of what is there itself."""
        registry = self.registry(tmp_path)
        image, wcs = dataset(one(1), "image"), dataset({"visit": 1}, "wcs", {"visit": "int"})
        pins = [
            pin_of("image", image),
            pin_of("inner.wcs", wcs, part="wcs", place="/repo: wcs é.fits"),
            pin_of("inner.mask", dataset(one(7), "image"), part="mask", place="/repo: mask é.fits"),
            pin_of("psf", dataset(one(1), "psf"), uuid=None, place=""),
            pin_of("members", dataset(one(2), "image"), member=DataId(one(2))),
            pin_of("members", dataset(one(10), "image"), member=DataId(one(10)), uuid=None),
        ]
        made = composite(one(1), pins)
        registry.apply([Changes([image, wcs, made])])
        back = self.again(registry).pins("calexp", made.uuid)
        here = image.uuid, wcs.uuid
        expected = {
            (p.component, p.member, p.type, p.uuid, p.part, "" if p.uuid in here else p.place) for p in pins
        }  # fmt: skip
        assert {(p.component, p.member, p.type, p.uuid, p.part, p.place) for p in back} == expected
        assert len(back) == len(pins)
        assert registry.pins("calexp", uuid4()) == registry.pins("image", image.uuid) == []
        assert [r.uuid for r in registry.pinned_by("image", one(1), image.uuid)] == [made.uuid]
        assert [r.uuid for r in registry.pinned_by("psf", one(1), None)] == [made.uuid]
        assert registry.pinned_by("image", one(1), uuid4()) == []
        assert registry.pinned_by("image", one(3), None) == []
        assert registry.pinned_by("psf", one(1), uuid4()) == []
        registry.apply([Changes(trashed=[("calexp", made.uuid)])])
        assert registry.pinned_by("image", one(1), image.uuid) == []
        assert len(registry.pins("calexp", made.uuid)) == len(pins)
        registry.close()

    def test_repinning(self, tmp_path: Path) -> None:
        """Live composites follow the leaf that they pin, wherever it is in them; those in the trash do not."""
        registry = self.registry(tmp_path)
        old, other = dataset(one(1), "wcs"), dataset(one(2), "wcs")
        live = composite(one(1), [pin_of("wcs", old, part="x"), pin_of("inner.wcs", old), pin_of("other", other)])
        absent = composite(one(2), [pin_of("wcs", old, uuid=None)])
        listed = composite(one(3), [pin_of("all", old, member=old.data_id), pin_of("all", other, member=other.data_id)])
        dead = composite(one(4), [pin_of("wcs", old)])
        another = composite(one(4), [pin_of("wcs", dataset(one(1), "psf"))], "coadd")
        registry.apply([Changes([old, other, live, absent, listed, dead, another])])
        registry.apply([Changes(trashed=[("calexp", dead.uuid)])])
        new = dataset(one(1), "wcs", replaces=True)
        registry.apply([Changes([new], repins=[("wcs", new.data_id, new.uuid)])])

        def pinned(made: NewDataset) -> dict[tuple[str, DataId | None], tuple[UUID | None, str]]:
            return {(p.component, p.member): (p.uuid, p.part) for p in registry.pins(made.type, made.uuid)}

        assert pinned(live) == {
            ("wcs", None): (new.uuid, "x"), ("inner.wcs", None): (new.uuid, ""), ("other", None): (other.uuid, ""),
        }  # fmt: skip
        assert pinned(absent) == {("wcs", None): (new.uuid, "")}
        assert pinned(listed) == {("all", old.data_id): (new.uuid, ""), ("all", other.data_id): (other.uuid, "")}
        assert pinned(dead) == {("wcs", None): (old.uuid, "")}
        assert all(pin != (new.uuid, "") for pin in pinned(another).values())
        assert {r.uuid for r in registry.pinned_by("wcs", one(1), new.uuid)} == {live.uuid, absent.uuid, listed.uuid}
        registry.close()

    def test_pins_through_the_trash(self, tmp_path: Path) -> None:
        """What is pinned is the same dataset wherever it goes, and never one of the same number in its table."""
        registry = self.registry(tmp_path)
        first, other, flat = dataset(one(1), file=stored_file("first")), dataset(one(2)), dataset(one(1), "flat")
        made = composite(one(1), [pin_of("raw", first), pin_of("other", other), pin_of("flat", flat)])
        registry.apply([Changes([first, other, flat, made])])

        def holders(new: NewDataset) -> list[list[UUID]]:
            record = registry.by_uuid(new.type, new.uuid)
            found = [registry.pinned_by(new.type, new.data_id, uuid) for uuid in (new.uuid, None)]
            return [[r.uuid for r in rows] for rows in [*found, registry.pinning(record) if record is not None else []]]

        def pinned() -> dict[str, UUID | None]:
            return {pin.component: pin.uuid for pin in registry.pins("calexp", made.uuid)}

        everywhere, nowhere = [[made.uuid]] * 3, [[], [made.uuid], []]
        before = pinned()
        assert before == {"raw": first.uuid, "other": other.uuid, "flat": flat.uuid}
        assert [holders(new) for new in (first, other, flat)] == [everywhere] * 3
        registry.apply([Changes(trashed=[("raw", first.uuid)])])
        assert (holders(first), pinned()) == (everywhere, before)
        second = dataset(one(1))
        registry.apply([Changes([second])])
        assert (holders(first), holders(second), pinned()) == (everywhere, nowhere, before)
        registry.apply([Changes(restored=[("raw", first.uuid, True)])])
        assert (holders(first), holders(second), pinned()) == (everywhere, nowhere, before)
        third = dataset(one(1), replaces=True)
        also = composite(one(2), [pin_of("raw", first), pin_of("flat", flat)])
        registry.apply([Changes([third, also], repins=[("raw", third.data_id, third.uuid)])])
        both = sorted([made.uuid, also.uuid])
        assert pinned() == {**before, "raw": third.uuid}
        assert [sorted(found) for found in holders(third)] == [both] * 3
        assert holders(first)[0] == holders(first)[2] == []
        registry.apply([Changes(trashed=[("raw", third.uuid), ("calexp", also.uuid)])])
        registry.purge(registry.trashed("raw", {}), force=True)
        assert pinned() == {**before, "raw": third.uuid}
        # It may get the number that a dataset had that is gone.
        last = dataset(one(1))
        registry.apply([Changes([last])])
        assert holders(last) == nowhere
        registry.apply([Changes(repins=[("raw", last.data_id, last.uuid)])])
        assert holders(last) == everywhere
        registry.close()

    def test_a_pin_of_what_is_replaced_at_once(self, tmp_path: Path) -> None:
        """A dataset can be recorded, replaced and pinned in one change."""
        registry = self.registry(tmp_path)
        first, second, third = (dataset(one(1), replaces=number > 0) for number in range(3))
        made = composite(one(1), [pin_of("first", first), pin_of("second", second)])
        registry.apply([Changes([first, second, made, third], repins=[("raw", third.data_id, third.uuid)])])
        assert {pin.uuid for pin in registry.pins("calexp", made.uuid)} == {third.uuid}
        assert [r.uuid for r in registry.pinned_by("raw", one(1), third.uuid)] == [made.uuid]
        registry.close()

    def test_a_component_is_pinned_once(self, tmp_path: Path) -> None:
        """Two pins of one component are one too many, unless they are of members."""
        registry = self.registry(tmp_path)
        image = dataset(one(1), "image")
        made = composite(one(1), [pin_of("image", image), pin_of("image", image, uuid=None)])
        refusal(BunterError, registry.apply, [Changes([image, made])])
        assert registry.types() == {}
        registry.close()

    # --- precursors ----------------------------------------------------------------------------------------

    def test_precursors(self, tmp_path: Path) -> None:
        """Come back in order, as they were; what was made of a dataset can be asked."""
        registry = self.registry(tmp_path)
        raw = dataset(one(1))
        made_from = [
            Precursor("raw", raw.data_id, raw.uuid, "/repo: raw.json"),
            Precursor("warp", DataId(tract=2**62, x=0.1, s="é"), None, ""),
            Precursor("raw", DataId(one(2)), uuid4(), "elsewhere"),
        ]
        coadd = dataset(one(7), "coadd", precursors=made_from)
        registry.apply([Changes([raw, coadd])])
        assert registry.precursors("coadd", coadd.uuid) == made_from
        assert registry.precursors("raw", raw.uuid) == []
        assert [r.uuid for r in registry.used_in("raw", one(1), raw.uuid)] == [coadd.uuid]
        assert registry.used_in("raw", one(2), raw.uuid) == []
        registry.apply([Changes(trashed=[("coadd", coadd.uuid)])])
        assert registry.used_in("raw", one(1), raw.uuid) == []
        assert registry.precursors("coadd", coadd.uuid) == made_from
        registry.close()
