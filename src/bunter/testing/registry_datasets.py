"""Tests of registries: datasets, who is first, transactions."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from ..dataid import KeyValue
from ..errors import DataIdError
from ..files.interface import StoredFile
from ..registry.interface import Changes, DatasetTaken, Record, Writing
from .refusals import refusal
from .registry_examples import KINDS, ODD_WORDS, RegistryUnderTest, dataset, one, stored_file


class DatasetsInRegistry(RegistryUnderTest):
    """Datasets, who is first, transactions."""

    # --- datasets ------------------------------------------------------------------------------------------

    def test_empty(self, tmp_path: Path) -> None:
        """Nothing is in a new registry, and asking for anything is no fault."""
        registry = self.registry(tmp_path)
        uuid = uuid4()
        assert registry.find("raw", one(1)) is None
        assert registry.find("raw", one(1), "wcs") is None
        assert registry.by_uuid("raw", uuid) is None
        assert registry.select("raw", {}) == []
        assert registry.data_ids("raw", {}) == []
        assert registry.keys_of("raw") is None
        assert registry.pins("raw", uuid) == []
        assert registry.precursors("raw", uuid) == []
        assert registry.pinned_by("raw", one(1), uuid) == registry.pinned_by("raw", one(1), None) == []
        assert registry.used_in("raw", one(1), uuid) == []
        assert registry.implied("filter", {"visit": 1}) is None
        assert registry.implied_values("filter") == {}
        assert not registry.path_taken("a")
        assert registry.files_at(["a"]) == {}
        assert registry.datasets_of_file("a") == []
        assert registry.types() == {}
        assert registry.counts() == {}
        assert list(registry.everything()) == []
        assert registry.purge([]).records == []
        registry.apply([])
        registry.apply([Changes()])
        assert not Changes()
        registry.close()

    def test_what_was_recorded_comes_back(self, tmp_path: Path) -> None:
        """Every field of it, here and elsewhere."""
        registry = self.registry(tmp_path)
        layout = {"hdus": [[0, 2880, 5760, None, "aé"]], "parts": {"wcs": [1]}, "x": 1.5, "deep": {"a": [True, None]}}
        file = StoredFile("a b/é.fits", True, 2**40, None, "0123456789abcdef" * 2, layout)
        other = StoredFile("/elsewhere/日本.fits", False, 0, 1_700_000_000_123_456_789, None, {})
        how = Writing("Fits", "astropy.wcs.WCS", '{"wcs": {"hdu": 1}}', "wcs")
        first = dataset(one(1), file=file, writing=how, written_at=2**52, written_by="bunter 1; jointcal é")
        second = dataset(one(2), file=other, writing=Writing("Csv"), written_by="")
        third = dataset(one(3), file=None, writing=None, pins=[])
        registry.apply([Changes([first, second, third])])
        for there in (registry, self.again(registry)):
            for new in (first, second, third):
                expected = Record(
                    "raw", new.data_id, new.uuid, "", True, new.file, new.writing, new.written_at, new.written_by
                )
                assert there.find("raw", new.data_id) == expected
                assert there.by_uuid("raw", new.uuid) == expected
                assert expected in there.select("raw", {})
                assert expected in list(there.everything())
            assert there.files_at([file.path, other.path, "nowhere"]) == {file.path: file, other.path: other}
            assert [record.uuid for record in there.datasets_of_file(file.path)] == [first.uuid]
            assert there.keys_of("raw") == ("visit", "ccd")
            assert there.types() == {"raw": ("visit", "ccd")}
            assert there.counts() == {"raw": 3}
            there.close()

    def test_values_of_keys(self, tmp_path: Path) -> None:
        """Each kind keeps its values as they are; what looks like SQL is a string like any other."""
        registry = self.registry(tmp_path)
        values: dict[str, list[KeyValue]] = {
            "int": [0, -1, 2**63 - 1, -(2**63), 10**18 + 1],
            "float": [0.1, -2.5, 1e308, 5e-324, 1.0, 2.0**60, -0.0 + 0.0],
            "str": ["a", "A", "1", "1.0", "'; DROP TABLE d1; --", '"', "\\", "%", "_", "é", "日本", "a b", "x" * 200],
        }
        for kind, all_values in values.items():
            news = [dataset({"k": value}, f"of_{kind}", {"k": kind}) for value in all_values]
            registry.apply([Changes(news)])
            for new in news:
                record = registry.find(f"of_{kind}", new.data_id)
                assert record is not None
                assert record.uuid == new.uuid
                assert record.data_id == new.data_id
                assert type(record.data_id["k"]) is type(new.data_id["k"])
                assert [r.uuid for r in registry.select(f"of_{kind}", new.data_id)] == [new.uuid]
            ordered = [record.data_id["k"] for record in registry.select(f"of_{kind}", {})]
            assert ordered == sorted(all_values)
            assert sorted(registry.data_ids(f"of_{kind}", {})) == [(value,) for value in ordered]
        assert registry.find("of_str", {"k": "missing"}) is None
        registry.close()

    def test_integers_beyond_64_bits(self, tmp_path: Path) -> None:
        """Are refused, not cut."""
        registry = self.registry(tmp_path)
        registry.apply([Changes([dataset(one(1))])])
        for number in (2**63, -(2**63) - 1, 10**30):
            refusal(DataIdError, registry.find, "raw", one(number))
            refusal(DataIdError, registry.apply, [Changes([dataset(one(number))])])
        assert registry.counts() == {"raw": 1}
        registry.close()

    def test_names_of_keys(self, tmp_path: Path) -> None:
        """Words of SQL and of the registry itself are keys like any other."""
        registry = self.registry(tmp_path)
        words = ODD_WORDS.split()
        kinds = {word: ("int", "str", "float")[number % 3] for number, word in enumerate(words)}
        plain: dict[str, KeyValue] = {"int": 7, "str": "seven", "float": 7.5}
        data_id = {word: plain[kind] for word, kind in kinds.items()}
        new = dataset(data_id, "odd", kinds)
        registry.apply([Changes([new])])
        record = registry.find("odd", data_id)
        assert record is not None
        assert record.data_id == data_id
        assert registry.keys_of("odd") == tuple(words)
        for word in words:
            found = registry.select("odd", {word: data_id[word]}, order_by=[(word, True)])
            assert [record.uuid for record in found] == [new.uuid]
            assert registry.select("odd", {}, self.where(word, "=", data_id[word]))[0].uuid == new.uuid
            assert registry.select("odd", {}, self.where(word, "<>", data_id[word])) == []
        registry.close()

    def test_names_of_types(self, tmp_path: Path) -> None:
        """Types differ by their whole names."""
        registry = self.registry(tmp_path)
        names = ["calexp", "calexp:sfm", "calexp:sfm.wcs", "Calexp", "about", "file", "calexp:", "x" * 200]
        news = {name: dataset(one(1), name) for name in names}
        registry.apply([Changes(list(news.values()))])
        for name, new in news.items():
            record = registry.find(name, one(1))
            assert record is not None
            assert (record.uuid, record.type) == (new.uuid, name)
            assert all(registry.by_uuid(other, new.uuid) is None for other in names if other != name)
        assert registry.counts() == dict.fromkeys(names, 1)
        registry.close()

    def test_a_type_without_keys(self, tmp_path: Path) -> None:
        """Has one dataset at the most."""
        registry = self.registry(tmp_path)
        new = dataset({}, "camera", {})
        registry.apply([Changes([new])])
        record = registry.find("camera", {"visit": 1})
        assert record is not None
        assert (record.uuid, dict(record.data_id)) == (new.uuid, {})
        assert [r.uuid for r in registry.select("camera", {})] == [new.uuid]
        assert registry.data_ids("camera", {}) == [()]
        assert registry.keys_of("camera") == ()
        refusal(DatasetTaken, registry.apply, [Changes([dataset({}, "camera", {})])])
        registry.close()

    def test_a_data_id_that_lacks_a_key(self, tmp_path: Path) -> None:
        """Is an error that names the key, not a dataset that happens to fit."""
        registry = self.registry(tmp_path)
        registry.apply([Changes([dataset(one(1))])])
        assert "'ccd'" in str(refusal(DataIdError, registry.find, "raw", {"visit": 1}))
        registry.close()

    def test_selecting(self, tmp_path: Path) -> None:
        """By constraints and conditions, in key order or another, as many as wanted."""
        registry = self.registry(tmp_path)
        ids = [one(visit, ccd) for visit in (10, 9, -3) for ccd in ("b", "a", "B")]
        registry.apply([Changes([dataset(data_id) for data_id in ids])])

        def found(*arguments: Any, **options: Any) -> list[tuple[KeyValue, ...]]:
            return [tuple(record.data_id.values()) for record in registry.select("raw", *arguments, **options)]

        ordered = [(v, c) for v in (-3, 9, 10) for c in ("B", "a", "b")]
        assert found({}) == ordered
        assert found({"visit": 9}) == [(9, "B"), (9, "a"), (9, "b")]
        assert found({"visit": 9, "ccd": "a", "tract": 5}) == [(9, "a")]
        assert found({"visit": 8}) == []
        assert found({}, order_by=[("ccd", True)], limit=2) == [(-3, "b"), (9, "b")]
        assert found({}, order_by=[("visit", True), ("ccd", False)], limit=4) == [*[(10, c) for c in "Bab"], (9, "B")]
        assert found({}, limit=0) == []
        assert found({}, self.where("visit", ">", 0), limit=3) == ordered[3:6]
        assert found({"ccd": "a"}, self.where("visit", "<", 10)) == [(-3, "a"), (9, "a")]
        assert sorted(registry.data_ids("raw", {"ccd": "b"}, self.where("visit", ">", 0))) == [(9, "b"), (10, "b")]
        registry.close()

    def test_the_keys_of_a_type_cannot_change(self, tmp_path: Path) -> None:
        """Neither their names nor their kinds; their order does not matter."""
        registry = self.registry(tmp_path)
        registry.apply([Changes([dataset(one(1))])])
        for kinds in ({"visit": "int"}, {"visit": "int", "ccd": "int"}, {**KINDS, "tract": "int"}, {}):
            values = {key: 1 if kind == "int" else "x" for key, kind in kinds.items()}
            refusal(DataIdError, registry.apply, [Changes([dataset(values, kinds=kinds)])])
        new = dataset({"ccd": "N2", "visit": 2}, kinds=dict(reversed(KINDS.items())))
        registry.apply([Changes([new])])
        record = registry.find("raw", one(2, "N2"))
        assert record is not None
        assert list(record.data_id) == ["visit", "ccd"]
        registry.close()

    def test_keys_that_differ_only_in_case(self, tmp_path: Path) -> None:
        """Cannot be told apart by every database."""
        registry = self.registry(tmp_path)
        new = dataset({"visit": 1, "Visit": 2}, "odd", {"visit": "int", "Visit": "int"})
        refusal(DataIdError, registry.apply, [Changes([new])])
        assert registry.types() == {}
        registry.close()

    # --- who is first --------------------------------------------------------------------------------------

    def test_the_unique_key_decides(self, tmp_path: Path) -> None:
        """The second dataset of a data ID is refused with the first, and nothing of its changes stays."""
        registry = self.registry(tmp_path)
        winner, loser = dataset(one(1), file=stored_file("winner")), dataset(one(1), file=stored_file("loser"))
        registry.apply([Changes([winner])])
        others = self.again(registry)
        before, after = dataset(one(2), "flat"), dataset(one(3))
        fact = ("filter", (("visit", 1),))
        changes = Changes([before, loser, after], {fact: "r"})
        error = refusal(DatasetTaken, others.apply, [changes])
        assert error.new is loser
        assert error.existing == registry.find("raw", one(1))
        assert error.existing.uuid == winner.uuid
        for there in (registry, others):
            assert there.types() == {"raw": ("visit", "ccd")}
            assert there.counts() == {"raw": 1}
            assert there.implied("filter", {"visit": 1}) is None
            assert not there.path_taken("loser")
            assert there.find("flat", one(2)) is None
            there.close()

    def test_one_change_cannot_hold_a_data_id_twice(self, tmp_path: Path) -> None:
        """The first is then what the second is refused with, and neither stays."""
        registry = self.registry(tmp_path)
        first, second = dataset(one(1)), dataset(one(1))
        error = refusal(DatasetTaken, registry.apply, [Changes([first]), Changes([second])])
        assert error.existing.uuid == first.uuid
        assert registry.counts() in ({}, {"raw": 0})
        registry.close()

    def test_a_uuid_is_recorded_once(self, tmp_path: Path) -> None:
        """The same dataset cannot come a second time, even if the first is in the trash."""
        registry = self.registry(tmp_path)
        new = dataset(one(1))
        registry.apply([Changes([new])])
        for data_id in (one(1), one(2)):
            copy = dataset(data_id, uuid=new.uuid, file=stored_file("copy"))
            assert refusal(DatasetTaken, registry.apply, [Changes([copy])]).existing.uuid == new.uuid
        registry.apply([Changes(trashed=[("raw", new.uuid)])])
        for live in (True, False):
            copy = dataset(one(1), uuid=new.uuid, file=stored_file("copy"), live=live)
            existing = refusal(DatasetTaken, registry.apply, [Changes([copy])]).existing
            assert (existing.uuid, existing.live) == (new.uuid, False)
        registry.close()

    def test_what_failed_is_not_remembered(self, tmp_path: Path) -> None:
        """Types and words of changes that were refused mean nothing, whatever takes their numbers next."""
        registry = self.registry(tmp_path)
        registry.apply([Changes([dataset(one(1))])])
        failed = [
            dataset({"a": "x"}, "failed", {"a": "str"}, written_by="failed", writing=Writing("Failed"), part="failed"),
            dataset({"a": "x"}, "failed", {"a": "str"}, written_by="failed", writing=Writing("Failed"), part="failed"),
        ]
        refusal(DatasetTaken, registry.apply, [Changes(failed)])
        assert registry.types() == {"raw": ("visit", "ccd")}
        assert registry.find("failed", {"a": "x"}) is None
        elsewhere = self.again(registry)
        new = dataset({"b": 1.5}, "other", {"b": "float"}, written_by="other", writing=Writing("Other"))
        elsewhere.apply([Changes([new])])
        for there in (registry, elsewhere):
            record = there.find("other", {"b": 1.5})
            assert record is not None
            assert (record.written_by, record.writing) == ("other", Writing("Other"))
            assert there.find("failed", {"a": "x"}) is None
        again = dataset({"a": "x"}, "failed", {"a": "str"}, written_by="now", part="failed")
        registry.apply([Changes([again])])
        record = elsewhere.find("failed", {"a": "x"}, "failed")
        assert record is not None
        assert (record.uuid, record.written_by, record.part) == (again.uuid, "now", "failed")
        registry.close()
        elsewhere.close()

    def test_many_at_once(self, tmp_path: Path) -> None:
        """Threads with connections of their own: each data ID has one winner, and nothing is lost."""
        registry = self.registry(tmp_path)
        connections = [registry, self.again(registry)]
        outcomes: list[tuple[int, UUID, bool]] = []
        failed: list[BaseException] = []

        def work(number: int) -> None:
            mine = connections[number % 2]
            try:
                for turn in range(8):
                    shared, own = dataset(one(turn)), dataset(one(turn, f"T{number}"), f"type{number}")
                    try:
                        mine.apply([Changes([shared, own])])
                        outcomes.append((turn, shared.uuid, True))
                    except DatasetTaken as taken:
                        outcomes.append((turn, taken.existing.uuid, False))
                        mine.apply([Changes([own])])
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed, failed
        for turn in range(8):
            assert sum(won for t, _, won in outcomes if t == turn) == 1
            record = registry.find("raw", one(turn))
            assert record is not None
            assert {uuid for t, uuid, _ in outcomes if t == turn} == {record.uuid}
        assert registry.counts() == {"raw": 8, **{f"type{number}": 8 for number in range(4)}}
        for connection in connections:
            connection.close()

    # --- transactions --------------------------------------------------------------------------------------

    def test_changes_come_in_order(self, tmp_path: Path) -> None:
        """A later one builds on an earlier one."""
        registry = self.registry(tmp_path)
        first, second = dataset(one(1)), dataset(one(1))
        registry.apply([Changes([first]), Changes(trashed=[("raw", first.uuid)]), Changes([second])])
        record = registry.find("raw", one(1))
        assert record is not None
        assert record.uuid == second.uuid
        registry.close()

    def test_a_check_is_inside(self, tmp_path: Path) -> None:
        """It sees what is there before the changes, and its error stops them."""
        registry = self.registry(tmp_path)
        new = dataset(one(1))
        seen: list[Any] = []
        registry.apply([Changes([new])], lambda: seen.append(registry.find("raw", one(1))))

        def stop() -> None:
            seen.append(registry.find("raw", one(1)))
            raise LookupError("stop")

        refusal(LookupError, registry.apply, [Changes([dataset(one(2))])], stop)
        assert seen[0] is None
        assert seen[1].uuid == new.uuid
        assert registry.counts() == {"raw": 1}
        registry.apply([Changes([dataset(one(2))])])
        registry.close()

    def test_others_see_what_is_committed(self, tmp_path: Path) -> None:
        """At once, new types too, and nothing before."""
        registry = self.registry(tmp_path)
        others = self.again(registry)
        assert others.find("raw", one(1)) is None
        during: list[Any] = []
        new = dataset(one(1))
        registry.apply([Changes([new])], lambda: during.append(others.find("raw", one(1))))
        record = others.find("raw", one(1))
        assert during == [None]
        assert record is not None
        assert record.uuid == new.uuid
        assert others.counts() == {"raw": 1}
        registry.apply([Changes([dataset(one(1), "flat")])])
        assert set(others.counts()) == {"raw", "flat"}
        registry.close()
        others.close()

    def test_one_state(self, tmp_path: Path) -> None:
        """Between `begin_read` and `end_read` nothing changes, whatever others commit; they do not wait either."""
        registry = self.registry(tmp_path)
        registry.apply([Changes([dataset(one(1))])])
        others = self.again(registry)
        registry.begin_read()
        assert registry.counts() == {"raw": 1}
        others.apply([Changes([dataset(one(2)), dataset(one(1), "flat")])])
        registry.begin_read()
        assert registry.find("raw", one(2)) is None
        registry.end_read()
        assert registry.counts() == {"raw": 1}
        assert registry.find("flat", one(1)) is None
        assert others.counts() == {"raw": 2, "flat": 1}
        registry.end_read()
        assert registry.counts() == {"raw": 2, "flat": 1}
        assert registry.find("flat", one(1)) is not None
        registry.apply([Changes([dataset(one(3))])])
        assert others.counts() == {"raw": 3, "flat": 1}
        registry.close()
        others.close()

    def test_one_state_in_one_thread(self, tmp_path: Path) -> None:
        """Another thread of the same registry may add types meanwhile; a search afterwards knows them at once."""
        registry = self.registry(tmp_path)
        registry.apply([Changes([dataset(one(1))])])
        registry.begin_read()
        assert registry.counts() == {"raw": 1}
        changes = [Changes([dataset(one(2)), dataset(one(1), "flat")])]
        thread = threading.Thread(target=registry.apply, args=(changes,))
        thread.start()
        thread.join()
        assert registry.find("flat", one(1)) is None
        assert registry.counts() == {"raw": 1}
        assert registry.keys_of("flat") is None
        assert [record.type for record in registry.everything()] == ["raw"]
        registry.end_read()
        assert registry.find("flat", one(1)) is not None
        assert registry.counts() == {"raw": 2, "flat": 1}
        registry.close()

    def test_floats_are_kept_to_the_last_bit(self, tmp_path: Path) -> None:
        """Neighbouring values are different data IDs."""
        registry = self.registry(tmp_path)
        values = [0.1, math.nextafter(0.1, 1), math.nextafter(0.1, 0), 1 / 3]
        news = [dataset({"x": value}, "grid", {"x": "float"}) for value in values]
        registry.apply([Changes(news)])
        for new in news:
            record = registry.find("grid", new.data_id)
            assert record is not None
            assert record.uuid == new.uuid
        registry.close()
