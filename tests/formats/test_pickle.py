"""Pickle is off until the user switches it on."""

from __future__ import annotations

import os
import pickle

import pytest

from bunter.errors import FormatError, TrustError
from bunter.formats import pickle_
from bunter.formats.interface import About
from bunter.formats.pickle_ import Pickle
from bunter.testing import FileSource, written

PICKLE = Pickle()


@pytest.fixture(autouse=True)
def _off(monkeypatch):
    monkeypatch.delenv("BUNTER_PICKLE", raising=False)
    pickle_.allow(False)
    yield
    pickle_.allow(False)


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_off_neither_reads_nor_writes(tmp_path):
    path = tmp_path / "x.pickle"
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(TrustError, match=r"calexp.*BUNTER_PICKLE=1"):
        PICKLE.read(FileSource(path), About(name="calexp"), {})
    assert not (tmp_path / "sprung").exists()
    with pytest.raises(TrustError, match=r"Pickle is off"):
        written(PICKLE, [1], About(), tmp_path)


@pytest.mark.parametrize("value", ["0", "", "yes"])
def test_only_1_switches_it_on(tmp_path, monkeypatch, value):
    monkeypatch.setenv("BUNTER_PICKLE", value)
    with pytest.raises(TrustError):
        written(PICKLE, [1], About(), tmp_path)


def test_the_user_switches_it_on_and_off(tmp_path):
    pickle_.allow()
    source = written(PICKLE, {1, 2}, About(python=set), tmp_path)
    assert PICKLE.read(source, About(python=set), {}) == {1, 2}
    with pytest.raises(FormatError, match=r"holds dict, the file a set"):
        PICKLE.read(source, About(python=dict), {})
    pickle_.allow(False)
    with pytest.raises(TrustError):
        PICKLE.read(source, About(), {})


def test_a_class_that_is_gone(tmp_path, monkeypatch):
    monkeypatch.setenv("BUNTER_PICKLE", "1")
    path = tmp_path / "x.pickle"
    path.write_bytes(b"cno_such_module\nThing\n.")
    with pytest.raises(FormatError, match=r"x.pickle.*no_such_module"):
        PICKLE.read(FileSource(path), About(), {})
