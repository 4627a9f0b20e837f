"""Verification: every kind of damage, made for real, is found, and what can be repaired without guessing is."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bunter import Butler, Exposure, Finding, ParameterError, Report, RepositoryArgs, RepositoryError, verify
from bunter.files.local import LocalFiles
from bunter.files.removing import Removal
from bunter.registry.interface import Changes
from tests.core_support import World, making_world, write_json

POLICY = """
keys: {visit: int, ccd: str}
datasets:
  weather: {python: dict, storage: Json, template: "weather/{visit:d}.json"}
  zero: {python: float, storage: Json, template: "zero/{visit:d}-{ccd}.json"}
  frame: {composite: {weather: {datasetType: weather}, zero: zero}}
  note: {python: dict, storage: Json, template: "notes/{visit:d}.json"}
"""
ID = {"visit": 1, "ccd": "N3"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with making_world(tmp_path) as made:
        yield made


@pytest.fixture
def night(world: World) -> Butler:
    """A repository with one composite and its two datasets."""
    butler = world.butler("night", POLICY)
    butler.put({"weather": {"seeing": 1.1}, "zero": 25.0}, "frame", ID)
    return butler


def kinds(report: Report) -> list[str]:
    return sorted(finding.kind for finding in report.findings)


def only(report: Report) -> Finding:
    assert len(report.findings) == 1, str(report)
    return report.findings[0]


def killed(work: Callable[[], object]) -> None:
    """Do something in a process that is killed right after it."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL


def files_of(butler: Butler) -> LocalFiles:
    output = butler._output
    assert output is not None
    return output.files


def contents(root: Path) -> dict[str, str]:
    """Return a checksum of every file in a folder."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    }


def changed_by_hand(root: Path, *statements: str) -> None:
    """Write into a registry as nobody should."""
    connection = sqlite3.connect(root / "registry.sqlite", isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


# Sound repositories


def test_a_sound_repository_has_nothing_to_complain_about(world: World, night: Butler) -> None:
    seen: list[tuple[int, int]] = []
    report = night.verify(read=True, progress=lambda done, total: seen.append((done, total)))
    assert report.ok
    assert report.findings == []
    assert report.counts == {
        **dict.fromkeys(report.counts, 0),
        "datasets": 3,
        "files": 2,
        "files_read": 2,
        "bytes_read": 20,
        "pins": 2,
    }
    assert seen[-1] == (2, 2)
    assert "nothing to complain about" in str(report)


def test_looking_changes_nothing(world: World, night: Butler) -> None:
    night.close()
    root = world.folder / "night"
    (root / "zero" / "1-N3.json").unlink()
    (root / "own.txt").write_text("mine")
    before = contents(root)
    assert not verify(root, read=True).ok
    with Butler(root) as reader:
        assert not reader.verify(sample=1.0).ok
    assert contents(root) == before


def test_what_is_read(world: World, night: Butler) -> None:
    for visit in range(2, 12):
        night.put({"n": visit}, "note", visit=visit)
    assert night.verify().counts["files_read"] == 0
    assert night.verify(sample=5).counts["files_read"] == 5
    assert night.verify(sample=0.25).counts["files_read"] == 3
    assert night.verify(sample=1000, workers=1).counts["files_read"] == 12
    assert night.verify(sample=1.0).counts["files_read"] == 12
    # Which ones is a matter of chance.
    (world.folder / "night/notes/5.json").write_text('{"n": 6}')
    found = [night.verify(sample=6).ok for _ in range(60)]
    assert True in found
    assert False in found


@pytest.mark.parametrize("sample", [0, 0.0, -1, 1.5, True, "a"])
def test_a_sample_that_makes_no_sense(night: Butler, sample: Any) -> None:
    with pytest.raises(ParameterError, match="sample="):
        night.verify(sample=sample)


def test_what_cannot_be_verified(world: World, night: Butler) -> None:
    with pytest.raises(ParameterError, match="workers=0"):
        night.verify(workers=0)
    with pytest.raises(RepositoryError, match="outputs="):
        world.reader("night").verify(repair=True)
    world.butler("other", POLICY)
    with pytest.raises(RepositoryError, match="one repository"):
        world.reader("night", "other").verify()
    with pytest.raises(RepositoryError, match="not a repository"):
        verify(world.folder)


def test_a_report_as_plain_values(world: World, night: Butler) -> None:
    (world.folder / "night/zero/1-N3.json").unlink()
    report = night.verify()
    told = json.loads(json.dumps(report.to_dict()))
    assert (told["ok"], told["root"], told["found"]) == (False, str(world.folder / "night"), {"file missing": 1})
    assert told["findings"][0]["dataset"]["type"] == "zero"
    assert told["findings"][0]["dataset"]["data_id"] == ID
    assert told["tally"] == {"error": 1, "warning": 0, "note": 0, "repaired": 0}
    assert "zero {'visit': 1, 'ccd': 'N3'}" in str(report)
    assert "1 error" in str(report)


# Files of datasets


def test_a_file_that_is_gone(world: World, night: Butler) -> None:
    (world.folder / "night/zero/1-N3.json").unlink()
    finding = only(night.verify())
    assert (finding.kind, finding.severity, finding.path) == ("file missing", "error", "zero/1-N3.json")
    assert finding.dataset is not None
    assert (finding.dataset.type, finding.dataset.data_id) == ("zero", ID)
    assert "restore it from a copy, or delete the dataset and make it again" in finding.message
    # A repair does not guess.
    assert not night.verify(repair=True).ok


def test_a_folder_that_is_gone(world: World, night: Butler) -> None:
    shutil.rmtree(world.folder / "night/zero")
    assert only(night.verify()).kind == "file missing"
    (world.folder / "night/zero").write_text("a file now")
    assert kinds(night.verify()) == ["file missing", "unknown file"]


def test_a_file_that_was_cut_short(world: World, night: Butler) -> None:
    path = world.folder / "night/zero/1-N3.json"
    os.truncate(path, 2)
    finding = only(night.verify())
    assert (finding.kind, finding.severity) == ("size differs", "error")
    assert "2 bytes, but had" in finding.message


def test_a_flipped_bit(world: World, night: Butler) -> None:
    path = world.folder / "night/weather/1.json"
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)
    assert night.verify().ok
    finding = only(night.verify(read=True))
    assert (finding.kind, finding.path) == ("contents differ", "weather/1.json")


def test_two_files_that_changed_places(world: World, night: Butler) -> None:
    night.put({"weather": {"seeing": 2.2}, "zero": 25.0}, "frame", {**ID, "visit": 2})
    folder = world.folder / "night/weather"
    (folder / "1.json").rename(folder / "x")
    (folder / "2.json").rename(folder / "1.json")
    (folder / "x").rename(folder / "2.json")
    assert night.verify().ok
    assert kinds(night.verify(read=True)) == ["contents differ", "contents differ"]


@pytest.mark.parametrize("what", ["a folder", "a pipe"])
def test_something_else_than_a_file(world: World, night: Butler, what: str) -> None:
    path = world.folder / "night/zero/1-N3.json"
    path.unlink()
    path.mkdir() if what == "a folder" else os.mkfifo(path)
    finding = only(night.verify(read=True))
    assert finding.kind == "not a file"
    assert what in finding.message


def test_a_file_that_cannot_be_read(world: World, night: Butler) -> None:
    path = world.folder / "night/zero/1-N3.json"
    path.unlink()
    path.symlink_to(path.name)
    assert only(night.verify()).kind == "cannot be read"


def test_a_link_that_leads_out_is_not_followed(world: World, night: Butler) -> None:
    path = world.folder / "night/zero/1-N3.json"
    secret = write_json(world.folder / "secret.json", 25.0)
    path.unlink()
    path.symlink_to(secret)
    report = night.verify(read=True)
    assert (only(report).kind, report.counts["files_read"], report.counts["outside"]) == (
        "outside and not trusted", 1, 1
    )  # fmt: skip


def test_a_path_that_leaves_the_root(world: World, night: Butler) -> None:
    changed_by_hand(world.folder / "night", "UPDATE file SET path = '../x.json' WHERE path LIKE 'zero%'")
    finding = only(world.reader("night").verify())
    assert (finding.kind, finding.severity) == ("registry damaged", "error")
    assert "contradicts itself" in finding.message


def test_what_differs_is_named(world: World) -> None:
    policy = 'keys: {visit: int}\ndatasets: {exp: {python: bunter.exposure.Exposure, template: "e-{visit:d}.fits"}}'
    butler = world.butler("a", policy)
    butler.put(Exposure(np.zeros((40, 50), np.float32)), "exp", visit=1)
    path = world.folder / "a/e-1.fits"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    at = data.index(b"XTENSION") + 2880 if data.count(b"XTENSION") else 2880
    data[at] ^= 1
    path.write_bytes(data)
    finding = only(butler.verify(read=True))
    assert finding.kind == "contents differ"
    assert "what differs: bytes" in finding.message
    assert "data of HDU" in finding.message


def test_what_is_in_the_trash_is_looked_at_too(world: World, night: Butler) -> None:
    night.put({"seeing": 3.3}, "weather", visit=1, replace=True)
    report = night.verify(read=True)
    assert (report.findings, report.counts["trashed"]) == ([], 1)
    (world.folder / "night/weather/1.json").unlink()
    finding = only(night.verify())
    assert (finding.kind, finding.severity) == ("file missing", "error")
    assert "in the trash" in finding.message


# Files that were ingested in place


@pytest.fixture
def ingested(world: World, night: Butler) -> Path:
    path = write_json(world.folder / "telescope/notes/7.json", {"n": 7})
    night.ingest("note", str(path), scan="none")
    return path


def test_checksums_that_ingest_left_out_are_filled_in(night: Butler, ingested: Path) -> None:
    report = night.verify()
    assert (report.findings, report.counts["without_checksum"]) == ([], 1)
    report = night.verify(read=True)
    assert (only(report).kind, only(report).severity, report.ok) == ("no checksum", "note", True)
    report = night.verify(read=True, repair=True)
    assert (only(report).kind, only(report).repaired) == ("no checksum", True)
    assert report.counts["without_checksum"] == 0
    assert night.verify(read=True).findings == []
    status = ingested.stat()
    ingested.write_text('{"n": 8}')
    os.utime(ingested, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert only(night.verify(read=True)).kind == "contents differ"


def test_what_was_written_to_since_gets_no_checksum(night: Butler, ingested: Path) -> None:
    ingested.write_text('{"n": 8}')
    os.utime(ingested, ns=(1, 1_000_000_007))
    for report in (night.verify(), night.verify(read=True, repair=True)):
        finding = only(report)
        assert (finding.kind, finding.severity, finding.repaired) == ("changed since ingest", "error", False)
        assert "on_exists='replace'" in finding.message
    # What is ingested again is another dataset; the old one is nobody's fault.
    night.ingest("note", str(ingested), on_exists="replace", scan="full")
    report = night.verify(read=True)
    assert report.ok
    assert (only(report).severity, only(report).path) == ("note", str(ingested))


def test_a_new_time_with_a_checksum_is_no_harm(night: Butler, ingested: Path) -> None:
    night.verify(read=True, repair=True)
    os.utime(ingested, ns=(1, 1_000_000_007))
    assert (only(night.verify()).kind, only(night.verify()).severity) == ("changed since ingest", "note")
    assert night.verify(read=True).findings == []


def test_the_checksums_of_parts_are_filled_in_too(world: World) -> None:
    policy = 'keys: {visit: int}\ndatasets: {exp: {python: bunter.exposure.Exposure, template: "e-{visit:d}.fits"}}'
    made = world.butler("made", policy)
    made.put(Exposure(np.ones((20, 30), np.float32)), "exp", visit=1)
    file = str(world.folder / "made/e-1.fits")
    layouts = {}
    for name, scan in (("full", "full"), ("later", "headers")):
        butler = world.butler(name, policy)
        butler.ingest("exp", file, scan=scan)
        report = butler.verify(read=True, repair=True)
        assert [finding.repaired for finding in report.findings] == ([] if scan == "full" else [True])
        output = butler._output
        assert output is not None
        layouts[name] = output.registry.files_at([file])[file]
    assert layouts["later"] == layouts["full"]
    assert layouts["later"].checksum is not None


def test_files_outside_are_read_only_if_they_are_trusted(
    world: World, night: Butler, ingested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = world.folder / "night"
    monkeypatch.setenv("BUNTER_CONFIG", str(world.folder / "somebody-else"))
    report = verify(root, read=True)
    assert report.ok
    assert (only(report).kind, only(report).severity) == ("outside and not trusted", "warning")
    assert str(ingested.parent) in only(report).message
    assert only(verify(root, read=True, trust_paths=[ingested.parent])).kind == "no checksum"


# What killed processes leave


def in_transaction(butler: Butler) -> None:
    with butler.transaction():
        butler.put({"n": 1}, "note", visit=1)
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_writer_killed_before_its_commit(world: World, night: Butler) -> None:
    before = world.files("night")
    killed(lambda: in_transaction(night))
    assert len(world.files("night")) == 4
    report = night.verify()
    finding = only(report)
    assert (finding.kind, finding.severity, finding.repaired) == ("leftover", "warning", False)
    assert "notes/1.json" in finding.message
    assert report.counts["leftovers"] == 1
    report = night.verify(repair=True)
    assert (only(report).kind, only(report).repaired) == ("leftover", True)
    assert world.files("night") == before
    assert not (world.folder / "night/notes").exists()
    assert night.verify().findings == []


def test_a_writer_killed_while_it_writes(world: World, night: Butler) -> None:
    def write() -> None:
        files_of(night).draft("weather/9.json").stream.write(b"{")

    before = world.files("night")
    killed(write)
    assert only(night.verify()).kind == "leftover"
    assert only(night.verify(repair=True)).repaired
    assert world.files("night") == before


def test_a_writer_killed_after_its_path_was_taken(world: World, night: Butler) -> None:
    def publish() -> None:
        draft = files_of(night).draft("weather/9.json")
        draft.stream.write(b"{}")
        assert draft.publish(lambda path: False) == "weather/9.json"
        assert draft.publish(lambda path: path == "weather/9.json") == "weather/9~2.json"

    before = world.files("night")
    killed(publish)
    assert [name for name in world.files("night") if "9" in name and ".part" not in name] == ["weather/9~2.json"]
    assert only(night.verify(repair=True)).repaired
    assert world.files("night") == before


def test_of_a_recorded_file_only_the_name_of_the_draft_goes(world: World, night: Butler) -> None:
    before = world.files("night")
    killed(lambda: Removal(files_of(night), "zero/1-N3.json"))
    assert len(world.files("night")) == 3
    finding = only(night.verify(repair=True))
    assert finding.repaired
    assert "only the name of the draft was removed" in finding.message
    assert world.files("night") == before
    assert night.get("zero", ID) == 25.0


def test_a_purge_killed_half_way(world: World, night: Butler) -> None:
    night.put({"seeing": 3.3}, "weather", visit=1, replace=True)

    def forget() -> None:
        Removal(files_of(night), "weather/1.json")
        output = night._output
        assert output is not None
        output.registry.purge([record for record in output.registry.everything() if not record.live])

    killed(forget)
    assert only(night.verify(repair=True)).repaired
    assert world.files("night") == ["weather/1~2.json", "zero/1-N3.json"]
    assert night.get("frame.weather", ID) == {"seeing": 3.3}


@pytest.mark.parametrize("published", [False, True])
def test_a_users_file_that_is_linked_to_stays(world: World, night: Butler, published: bool) -> None:
    own = write_json(world.folder / "night/notes/1.json", {"n": 1})

    def link() -> None:
        draft = files_of(night).draft("notes/1.json")
        draft.link(str(own), symbolic=False)
        if published:
            assert draft.publish(lambda path: False) == "notes/1~2.json"

    killed(link)
    assert len(os.listdir(own.parent)) == 2 + published
    assert "leftover" in kinds(night.verify())
    report = night.verify(repair=True)
    assert [finding.repaired for finding in report.findings if finding.kind == "leftover"] == [True]
    assert os.listdir(own.parent) == ["1.json"]
    assert only(night.verify()).kind == "unknown file"


def test_a_folder_that_is_a_link(world: World, night: Butler) -> None:
    """A file is found under the name that its folder has in the registry, and stays."""
    root = world.folder / "night"
    (root / "elsewhere/deep").mkdir(parents=True)
    (root / "notes").symlink_to("elsewhere/deep")
    night.put({"n": 1}, "note", visit=1)
    assert night.verify(read=True).findings == []
    killed(lambda: Removal(files_of(night), "notes/1.json"))
    finding = only(night.verify(repair=True))
    assert (finding.path.startswith("elsewhere/deep/"), finding.repaired) == (True, True)
    assert night.get("note", visit=1) == {"n": 1}


def test_what_is_being_written_is_left_alone(world: World, night: Butler) -> None:
    with night.transaction():
        night.put({"n": 1}, "note", visit=1)
        for report in (verify(world.folder / "night"), night.verify(repair=True)):
            assert (only(report).kind, only(report).severity) == ("draft being written", "note")
    assert night.get("note", visit=1) == {"n": 1}
    assert night.verify(read=True).findings == []


def test_temporary_files_of_the_policy(world: World, night: Butler) -> None:
    path = world.folder / "night" / f"policy.yaml.part~{'0' * 16}"
    path.write_text("datasets: {")
    assert only(night.verify()).kind == "draft being written"
    os.utime(path, (1, 1))
    assert (only(night.verify()).kind, only(night.verify()).severity) == ("leftover", "warning")
    assert only(night.verify(repair=True)).repaired
    assert not path.exists()


def test_a_users_own_files_are_never_touched(world: World, night: Butler) -> None:
    root = world.folder / "night"
    names = ["notes.txt", "zero/1-N3.json.bak", ".part~mine", "weather/1~7.json", "policy.yaml.part~", "deep/er/x.fits"]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("mine")
    os.mkfifo(root / "pipe")
    report = night.verify(read=True, repair=True)
    assert report.ok
    assert {finding.path for finding in report.findings} == {*names, "pipe"}
    assert {finding.kind for finding in report.findings} == {"unknown file"}
    assert report.counts["unknown_files"] == 7
    assert all((root / name).read_text() == "mine" for name in names)


def test_repositories_and_linked_folders_inside_are_not_walked(world: World, night: Butler) -> None:
    inner = world.butler("night/inner", POLICY)
    inner.put({"n": 1}, "note", visit=1)
    killed(lambda: files_of(inner).draft("notes/2.json"))
    outside = world.folder / "outside"
    outside.mkdir()
    (outside / "x").write_text("mine")
    (world.folder / "night/link").symlink_to(outside)
    assert night.verify(repair=True).findings == []
    assert only(inner.verify()).kind == "leftover"


def test_names_that_are_no_text(world: World, night: Butler) -> None:
    root = os.fsencode(world.folder / "night")
    try:
        with open(root + b"/\xff\n.json", "w"):
            pass
    except OSError:
        pytest.skip("this file system takes only text for names")
    report = night.verify(repair=True)
    assert only(report).path == "\\udcff\\n.json"
    json.dumps(report.to_dict()).encode()
    str(report).encode()


# Pins and precursors


@pytest.fixture
def fit(world: World, night: Butler) -> Butler:
    """A child whose composite pins a dataset of its parent."""
    butler = world.butler("fit", inputs="night")
    butler.put({"weather": {"seeing": 1.1}, "zero": 26.0}, "frame", ID)
    return butler


def test_a_child_says_what_it_did_not_look_at(world: World, fit: Butler) -> None:
    report = fit.verify(read=True)
    assert report.findings == []
    assert report.parents == (str(world.folder / "night"),)
    assert "verify each" in str(report)


def test_a_pin_in_the_trash(night: Butler, fit: Butler) -> None:
    night.put({"seeing": 2.0}, "weather", visit=1, replace=True)
    finding = only(fit.verify())
    assert (finding.kind, finding.severity) == ("pin in the trash", "note")
    assert finding.dataset is not None
    assert finding.dataset.type == "frame"
    assert "'weather'" in finding.message


def test_a_pin_that_is_gone(world: World, night: Butler, fit: Butler) -> None:
    night.put({"seeing": 2.0}, "weather", visit=1, replace=True)
    output = night._output
    assert output is not None
    output.registry.purge([record for record in output.registry.everything() if not record.live])
    finding = only(fit.verify(repair=True))
    assert (finding.kind, finding.severity, finding.repaired) == ("pin gone", "error", False)
    assert "its component 'weather'" in finding.message
    assert str(world.folder / "night") in finding.message
    # Of what is in the trash that is less of a harm.
    fit.delete("frame", ID)
    assert (only(fit.verify()).kind, only(fit.verify()).severity) == ("pin gone", "warning")


def test_a_pinned_file_of_a_parent_that_is_gone(world: World, fit: Butler) -> None:
    (world.folder / "night/weather/1.json").unlink()
    finding = only(fit.verify())
    assert (finding.kind, finding.severity) == ("pinned file missing", "error")
    assert str(world.folder / "night") in finding.message


def test_pins_of_composites_in_composites(world: World, night: Butler) -> None:
    policy = """
    datasets:
      flat: {python: dict, storage: Json, template: "flat/{visit:d}-{ccd}.json"}
      outer: {composite: {frame: frame, flat: flat}}
    """
    fit = world.butler("fit", policy, inputs="night")
    fit.put({"frame": {"weather": {"seeing": 1.1}, "zero": 25.0}, "flat": {"n": 1}}, "outer", ID)
    assert fit.verify(read=True).findings == []
    (world.folder / "night/weather/1.json").unlink()
    report = fit.verify()
    assert set(kinds(report)) == {"pinned file missing"}
    assert not report.ok


def test_a_precursor_that_is_gone(world: World, night: Butler) -> None:
    made_from = night.put({"n": 1}, "note", visit=1)
    night.put({"n": 2}, "note", visit=2, precursors=[made_from])
    assert night.verify().findings == []
    output = night._output
    assert output is not None
    assert made_from.uuid is not None
    output.registry.apply([Changes(trashed=[("note", made_from.uuid)])])
    assert night.verify().findings == []
    for file in output.registry.purge([r for r in output.registry.everything() if not r.live], force=True).files:
        output.files.remove(file.path)
    finding = only(night.verify())
    assert (finding.kind, finding.severity) == ("precursor gone", "note")
    assert finding.dataset is not None
    assert finding.dataset.data_id == {"visit": 2}


# Parents


def test_a_parent_that_is_gone(world: World, night: Butler, fit: Butler) -> None:
    night.close(), fit.close()
    (world.folder / "night").rename(world.folder / "away")
    report = verify(world.folder / "fit", read=True)
    assert kinds(report) == ["parent unreachable", "pins not followed"]
    assert not report.ok
    assert report.counts["files_read"] == 1
    assert "bunter.yaml" in report.findings[0].message


def test_another_repository_where_the_parent_was(world: World, night: Butler, fit: Butler) -> None:
    night.close(), fit.close()
    (world.folder / "night").rename(world.folder / "away")
    Butler(outputs=RepositoryArgs(world.folder / "night", policy=POLICY)).close()
    assert kinds(verify(world.folder / "fit")) == ["another repository", "pins not followed"]


@pytest.mark.parametrize("what", ["bunter.yaml", "registry.sqlite", "policy.yaml"])
def test_a_parent_that_cannot_be_read(world: World, night: Butler, fit: Butler, what: str) -> None:
    night.close(), fit.close()
    (world.folder / "night" / what).write_text("{")
    report = verify(world.folder / "fit", repair=True)
    assert kinds(report) == ["parent unreadable", "pins not followed"]
    assert str(world.folder / "night") in report.findings[0].message


# Definitions


def test_a_policy_that_cannot_be_read(world: World, night: Butler) -> None:
    (world.folder / "night/policy.yaml").write_text("datasets: {weather: {storage: Jsn, template: x}}")
    (world.folder / "night/zero/1-N3.json").unlink()
    report = verify(world.folder / "night")
    assert kinds(report) == ["file missing", "policy unreadable"]
    assert any("Jsn" in finding.message for finding in report.findings)


def test_a_type_that_is_not_defined_any_more(world: World, night: Butler) -> None:
    path = world.folder / "night/policy.yaml"
    night.put({"n": 1}, "note", visit=1)
    path.write_text("\n".join(line for line in path.read_text().splitlines() if "note" not in line))
    finding = only(night.verify())
    assert (finding.kind, finding.severity) == ("type not defined", "note")
    assert "'note' has 1 datasets" in finding.message


def test_keys_that_were_changed(world: World, night: Butler) -> None:
    path = world.folder / "night/policy.yaml"
    path.write_text(path.read_text().replace("weather/{visit:d}.json", "weather/{visit:d}-{ccd}.json"))
    finding = only(verify(world.folder / "night"))
    assert (finding.kind, finding.severity) == ("keys differ", "error")
    assert "'weather'" in finding.message


# The registry


def test_an_index_that_is_damaged(world: World, night: Butler) -> None:
    root = world.folder / "night"
    night.close()
    connection = sqlite3.connect(root / "registry.sqlite", isolation_level=None)
    sql = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'pin_leaf'").fetchone()[0]
    connection.execute("PRAGMA writable_schema = ON")
    change = "UPDATE sqlite_master SET sql = ? WHERE name = 'pin_leaf'"
    connection.execute(change, (f"{sql} WHERE leaf IS NULL",))
    connection.close()
    night.put({"weather": {"seeing": 2.2}, "zero": 25.0}, "frame", {**ID, "visit": 2})
    night.close()
    connection = sqlite3.connect(root / "registry.sqlite", isolation_level=None)
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute(change, (sql,))
    connection.close()
    killed(lambda: in_transaction(night))

    report = verify(root)
    assert kinds(report) == ["index damaged", "leftover"]
    assert (report.findings[0].severity, report.findings[0].repaired) == ("error", False)
    report = verify(root, repair=True)
    assert [(finding.kind, finding.repaired) for finding in report.findings] == [
        ("index damaged", True), ("leftover", True)
    ]  # fmt: skip
    assert report.ok
    assert verify(root, read=True).findings == []


def test_a_registry_that_is_no_registry(world: World, night: Butler) -> None:
    night.close()
    killed(lambda: in_transaction(night))
    root = world.folder / "night"
    before = world.files("night")
    (root / "registry.sqlite").write_bytes(b"nothing" * 1000)
    finding = only(verify(root, repair=False))
    assert (finding.kind, finding.severity) == ("registry damaged", "error")
    assert "restore it from a copy" in finding.message
    verify(root, repair=True)
    assert world.files("night") == before


def test_a_registry_with_a_damaged_page(world: World, night: Butler) -> None:
    for visit in range(2, 200):
        night.put({"n": visit}, "note", visit=visit)
    night.close()
    killed(lambda: in_transaction(night))
    root = world.folder / "night"
    with sqlite3.connect(root / "registry.sqlite") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'file'").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()
    with open(root / "registry.sqlite", "r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\x00" * size)
    before = world.files("night")
    report = verify(root, repair=True)
    assert "registry damaged" in kinds(report)
    assert not report.ok
    # Who does not know what it holds removes nothing.
    assert world.files("night") == before


def test_rows_that_lead_nowhere(world: World, night: Butler) -> None:
    root = world.folder / "night"
    night.put({"n": 1}, "note", visit=1)
    changed_by_hand(
        root,
        "DELETE FROM file WHERE path LIKE 'notes%'",
        "INSERT INTO pin SELECT type, composite + 100, component, member, leaf, leaf_type, uuid, part, place FROM pin",
        "UPDATE pin SET part = 9999 WHERE composite < 100",
        "INSERT INTO file (id, path, path_key, owned, size) VALUES (99, 'x', 5, 0, 1)",
    )
    report = verify(root)
    told = "\n".join(finding.message for finding in report.findings)
    assert "of 'note' have files of which nothing is recorded" in told
    assert "of 'frame' have rows in the table pin, but are not there" in told
    assert "words that the column part" in told
    assert "file of nobody" in kinds(report)
    assert not report.ok


def test_pins_of_other_rows(world: World, night: Butler) -> None:
    """Pins name rows and UUIDs; both are of the same dataset, which is not in the trash."""
    root = world.folder / "night"
    night.put({"seeing": 2.0}, "weather", visit=2)
    assert night.verify().ok
    for statement in (
        "UPDATE pin SET leaf = 2 WHERE component = (SELECT id FROM word WHERE text = 'weather')",
        "UPDATE pin SET leaf = 1, uuid = randomblob(16) WHERE component = (SELECT id FROM word WHERE text = 'weather')",
        "UPDATE pin SET leaf = 77, leaf_type = 1",
    ):
        changed_by_hand(root, statement)
        report = verify(root)
        assert any("that the table pin has, but" in finding.message for finding in report.findings), str(report)
        assert not report.ok


def test_values_that_make_no_sense(world: World, night: Butler) -> None:
    changed_by_hand(world.folder / "night", "UPDATE file SET size = 'many' WHERE path LIKE 'zero%'")
    report = verify(world.folder / "night")
    assert "registry damaged" in kinds(report)
    assert report.counts["files"] == 1


def test_a_layout_that_makes_no_sense(world: World) -> None:
    policy = 'keys: {visit: int}\ndatasets: {exp: {python: bunter.exposure.Exposure, template: "e-{visit:d}.fits"}}'
    butler = world.butler("a", policy)
    butler.put(Exposure(np.zeros((4, 5), np.float32)), "exp", visit=1)
    path = world.folder / "a/e-1.fits"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    for layout in ('{"hdus": 5}', '{"hdus": [[-5, 1, 1, "", "", "", "", 1]]}', '{"hdus": [[0, 1, 1e999]]}'):
        changed_by_hand(world.folder / "a", f"UPDATE file SET layout = '{layout}'")
        assert kinds(verify(world.folder / "a", read=True)) == ["contents differ", "registry damaged"]


# Others are at work


def test_no_false_alarms_while_others_write(world: World) -> None:
    butler = world.butler("busy", POLICY)
    for visit in range(50):
        butler.put({"n": 0}, "note", visit=visit)
    stop = threading.Event()
    failed: list[BaseException] = []

    def write() -> None:
        try:
            with Butler(outputs=world.folder / "busy", durability="fast") as mine:
                number = 0
                while not stop.is_set():
                    number += 1
                    mine.put({"n": number, "by": uuid.uuid4().hex}, "note", visit=number % 50, replace=True)
                    if number % 20 == 0:
                        mine.purge()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        reports = [verify(world.folder / "busy", read=True, repair=number % 2 == 1) for number in range(20)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []
    found = [finding for report in reports for finding in report.findings if finding.kind != "draft being written"]
    assert found == []
    assert all(report.counts["files"] >= 50 for report in reports)
    assert butler.verify(read=True).findings == []
