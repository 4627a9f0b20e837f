"""The hashes under which a registry finds things; they are stored, so they never change."""

from __future__ import annotations

import json
from collections.abc import Mapping

import xxhash

from ..dataid import KeyValue

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def canonical(data_id: Mapping[str, KeyValue]) -> str:
    """Return a data ID as text that is the same for equal data IDs.

    Examples
    --------
    >>> canonical({"visit": 1, "ccd": "N3"})
    '{"ccd":"N3","visit":1}'
    """
    return _encode(dict(sorted(data_id.items())))


def leaf_hash(type_: str, data_id: Mapping[str, KeyValue]) -> int:
    """Return the signed 64-bit hash under which pins and precursors of a dataset are found.

    Examples
    --------
    >>> leaf_hash("calexp:sfm", {"visit": 1, "ccd": "N3"}) == leaf_hash("calexp:sfm", {"ccd": "N3", "visit": 1})
    True
    """
    return _signed(xxhash.xxh3_64_intdigest(f"{type_} {canonical(data_id)}".encode("utf-8", "surrogatepass")))


def path_hash(path: str, owned: bool) -> int:
    """Return the signed 64-bit hash that keeps paths unique; owned paths that differ only in case share it.

    Examples
    --------
    >>> path_hash("a/B.fits", True) == path_hash("A/b.fits", True)
    True
    >>> path_hash("a/B.fits", False) == path_hash("A/b.fits", False)
    False
    """
    text = path.casefold() if owned else path
    return _signed(xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogateescape")))


def _signed(digest: int) -> int:
    # SQLite's and PostgreSQL's 64-bit integers have a sign.
    return digest - (1 << 64) if digest >= 1 << 63 else digest
