from __future__ import annotations

import threading
from dataclasses import dataclass
from types import MappingProxyType
from uuid import uuid4

import numpy as np

from bunter import GaussianPsf, ImagePsf
from bunter.cache import ComponentCache


def key(part="", python=""):
    return uuid4(), part, python


def array(size):
    return np.zeros(size, np.uint8)


def test_what_was_kept_comes_back():
    cache = ComponentCache()
    one, obj = key("psf"), array(10)
    assert cache.get(one) is None
    assert cache.put(one, obj) is obj
    assert cache.get(one) is obj


def test_uuid_part_and_type_make_the_key():
    cache = ComponentCache()
    uuid = uuid4()
    keys = [(uuid, "psf", ""), (uuid, "wcs", ""), (uuid, "psf", "bunter.Psf"), (uuid4(), "psf", "")]
    for number, one in enumerate(keys):
        cache.put(one, f"object {number}")
    assert [cache.get(one) for one in keys] == [f"object {number}" for number in range(4)]


def test_the_first_to_keep_an_object_decides():
    """So that two threads that read the same at once share one object all the same."""
    cache = ComponentCache()
    one = key()
    first, second = array(5), array(5)
    cache.put(one, first)
    assert cache.put(one, second) is first
    assert cache.get(one) is first
    assert cache.bytes == 5


def test_bytes_are_bounded_and_the_least_recently_used_go_first():
    cache = ComponentCache(limit=100)
    keys = [key() for _ in range(4)]
    for one in keys[:3]:
        cache.put(one, array(30))
    assert cache.get(keys[0]) is not None
    cache.put(keys[3], array(30))
    assert [cache.get(one) is not None for one in keys] == [True, False, True, True]
    assert cache.bytes == 90
    for _ in range(50):
        cache.put(key(), array(40))
        assert cache.bytes <= 100


def test_what_is_too_large_is_handed_out_but_not_kept():
    cache = ComponentCache(limit=100)
    small, large = key(), key()
    cache.put(small, array(60))
    obj = array(101)
    assert cache.put(large, obj) is obj
    assert cache.get(large) is None
    assert cache.get(small) is not None
    assert cache.bytes == 60


def test_arrays_inside_of_objects_count():
    @dataclass(frozen=True)
    class Holder:
        values: object

    class Base:
        __slots__ = ("a",)

    class Slotted(Base):
        __slots__ = ("b",)

    slotted = Slotted()
    slotted.a, slotted.b = array(50_000), 1
    psf = ImagePsf(np.ones((101, 101)))
    for obj, least in (
        (Holder(array(50_000)), 50_000),
        (slotted, 50_000),
        (Holder([array(50_000), array(50_000)]), 100_000),
        (Holder({"a": array(50_000)}), 50_000),
        (MappingProxyType({"a": array(50_000)}), 50_000),
        ((array(50_000), "b"), 50_000),
        (psf, 101 * 101 * 8),
    ):
        cache = ComponentCache()
        cache.put(key(), obj)
        assert least <= cache.bytes < 2 * least, obj


def test_small_objects_are_not_free():
    cache = ComponentCache()
    cache.put(key(), GaussianPsf(2.0))
    assert 0 < cache.bytes < 10_000


def test_objects_that_hold_themselves():
    own = []
    own.append(own)
    cache = ComponentCache()
    cache.put(key(), own)
    assert cache.bytes > 0


def test_threads():
    cache = ComponentCache(limit=1000)
    keys = [key() for _ in range(20)]
    wrong = []

    def work(number):
        for turn in range(500):
            one = keys[(turn * 7 + number) % 20]
            obj = cache.put(one, array(70 + keys.index(one)))
            found = cache.get(one)
            if len(obj) != 70 + keys.index(one) or (found is not None and len(found) != len(obj)):
                wrong.append((turn, number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert cache.bytes == sum(70 + number for number, one in enumerate(keys) if cache.get(one) is not None)
