"""The conformance tests themselves notice what they are for."""

from __future__ import annotations

import inspect
import json
import time

import pytest

from bunter.errors import FormatError, IntegrityError
from bunter.formats.interface import About, Format
from bunter.testing import FileSource, FormatTests, written


class Right(Format):
    """A dict as JSON; the faulty formats below differ from it in one thing each."""

    name = "Right"
    suffix = ".right"
    parameters = ("first",)

    def write(self, obj, out, about):
        if not isinstance(obj, dict):
            raise FormatError(f"{about.name}: only dicts")
        out.write(json.dumps(obj, sort_keys=True).encode())
        return {}

    def read(self, source, about, parameters):
        try:
            found = json.loads(bytes(source.read_all()))
        except ValueError as error:
            raise FormatError(f"{source.name}: no JSON") from error
        return dict(list(found.items())[: parameters["first"]]) if "first" in parameters else found


class Forgets(Right):
    def read(self, source, about, parameters):
        found = super().read(source, about, parameters)
        found.pop("b", None)
        return found


class Stamps(Right):
    def write(self, obj, out, about):
        return super().write({**obj, "date": time.perf_counter_ns()}, out, about)

    def read(self, source, about, parameters):
        found = super().read(source, about, parameters)
        found.pop("date", None)
        return found


class Changes(Right):
    def write(self, obj, out, about):
        obj["written"] = True
        return super().write(obj, out, about)


class Shares(Right):
    kept: dict[str, object] = {}

    def read(self, source, about, parameters):
        return self.kept.setdefault(source.name, super().read(source, about, parameters))


class Trusts(Right):
    def read(self, source, about, parameters):
        with open(source.name, "rb") as file:
            text = file.read().decode("latin-1")
        try:
            return json.loads(text)
        except ValueError as error:
            raise FormatError(f"{source.name}: no JSON") from error


class TakesAll(Right):
    def write(self, obj, out, about):
        return super().write(obj if isinstance(obj, dict) else {"repr": repr(obj)}, out, about)


class Crashes(Right):
    def read(self, source, about, parameters):
        return json.loads(bytes(source.read_all()))


class Remembers(Right):
    def write(self, obj, out, about):
        super().write(obj, out, about)
        return {"keys": len(obj)}


class Ignores(Right):
    def read(self, source, about, parameters):
        return super().read(source, about, {})


class Lazy(Right):
    def equal(self, a, b, about):
        return True


def conformance_of(format_class):
    class Tests(FormatTests):
        def format(self):
            return format_class()

        def examples(self):
            return [({"a": 1, "b": [2, 3], "c": "some text that is long enough"}, About()), ({"d": 4}, About())]

        def refused(self):
            return [([1, 2], About())]

        def selections(self):
            return [({"first": 1}, lambda whole: dict([next(iter(whole.items()))]))]

    return Tests()


def failing(format_class, folder):
    found = set()
    for name, test in inspect.getmembers(conformance_of(format_class), inspect.ismethod):
        if name.startswith("test_"):
            place = folder / name
            place.mkdir()
            try:
                test(place) if inspect.signature(test).parameters else test()
            except Exception:
                found.add(name)
    return found


def test_a_right_format_passes(tmp_path):
    assert failing(Right, tmp_path) == set()


@pytest.mark.parametrize(
    ("format_class", "test"),
    [
        (Forgets, "test_examples_come_back"),
        (Stamps, "test_bytes_are_deterministic"),
        (Changes, "test_writing_changes_nothing"),
        (Shares, "test_each_read_is_its_own"),
        (Trusts, "test_damage_is_noticed"),
        (TakesAll, "test_what_it_cannot_hold_is_refused"),
        (Crashes, "test_foreign_files"),
        (Remembers, "test_layout_is_json_and_what_a_scan_gives"),
        (Ignores, "test_selections"),
        (Lazy, "test_examples_differ"),
    ],
)
def test_a_fault_is_found(tmp_path, format_class, test):
    assert test in failing(format_class, tmp_path)


def test_a_file_source_counts_and_checks(tmp_path):
    source = written(Right(), {"a": 1}, About(), tmp_path)
    assert bytes(source.read_range(1, 3)) == b'"a"'
    assert (source.bytes_read, source.reads) == (3, 1)
    buffer = source.read_all()
    assert not buffer.readonly
    assert (source.bytes_read, source.reads) == (3 + source.size, 2)
    with pytest.raises(IntegrityError, match="asked for"):
        source.read_range(source.size - 1, 2)
    with pytest.raises(IntegrityError, match="another checksum"):
        source.read_range(0, 1, "0" * 32)
    with pytest.raises(IntegrityError, match="had 3 when it was recorded"):
        FileSource(source.name, size=3).read_all()
    assert FileSource(source.name, local=False).local_path is None
