"""What datasets were made of: whether pins and precursors lead to datasets that are there."""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias
from uuid import UUID

from ..errors import BunterError
from ..registry.auditing import Audit, PinRow
from ..registry.interface import Record
from ..registry.sqlite import SqliteRegistry
from ..repository import Repository
from .examined import Examined
from .report import Report

_REMEMBERED = 100_000
"""Datasets of which is remembered what was found of them."""
_DEEPEST = 50
"""Composites in composites."""

_State: TypeAlias = Literal["there", "trashed", "gone", "spoilt"]


@dataclass(slots=True)
class _Target:
    """What a pin leads to.

    Attributes
    ----------
    what : str
        For ``spoilt``: what is wrong with its file.
    """

    state: _State
    root: str = ""
    what: str = ""


class Links:
    """Checks the pins and precursors of one repository.

    Parameters
    ----------
    examined : Examined
        Whose pins.
    report : Report
        Takes what is found.
    """

    def __init__(self, examined: Examined, report: Report) -> None:
        self._examined = examined
        self._report = report
        self._audit = examined.audit
        self._audits: list[tuple[Repository, Audit]] = [(examined, examined.audit)]
        for repository in examined.chain:
            if repository is not examined and isinstance(repository.registry, SqliteRegistry):
                self._audits.append((repository, Audit(repository.registry)))
        self._known: OrderedDict[tuple[str, UUID, str], _Target] = OrderedDict()
        self._unfollowed = 0

    def check_pins(self) -> None:
        """Look for every dataset that a composite pins."""
        for portion in self._audit.pins():
            self._report.counts["pins"] += len(portion)
            wanted = [(pin.type, pin.uuid, pin.part) for pin in portion]
            self._find(wanted)
            for pin, key in zip(portion, wanted, strict=True):
                if self._target(key).state != "there":
                    self._suspicious(pin)
        if self._unfollowed:
            self._report.add(
                "pins not followed",
                "warning",
                f"{self._unfollowed} pins or precursors may lead to a parent that cannot be opened",
            )

    def _suspicious(self, pin: PinRow) -> None:
        """Report a pin, if it is still what it was."""
        now = self._audit.pin(pin.key)
        if now is None:
            return
        key = now.type, now.uuid, now.part
        self._known.pop(key, None)
        self._find([key])
        target = self._target(key)
        if target.state == "there":
            return
        composite = self._audit.dataset(pin.key[0], pin.key[1])
        if composite is None:
            # A row of nothing is reported with the registry.
            return
        if target.state == "gone" and not self._examined.whole:
            self._unfollowed += 1
            return
        member = f" {self._audit.text(now.member)}" if now.member else ""
        part = f", part {now.part!r}" if now.part else ""
        what = f"its component {now.component!r}{member} is {now.type} with UUID {now.uuid}{part}"
        trash = "" if composite.live else " (the composite itself is in the trash)"
        if target.state == "trashed":
            if composite.live:
                self._report.add(
                    "pin in the trash",
                    "note",
                    f"{what}, which is in the trash of {target.root}: it is read from there until that is purged",
                    record=composite,
                )
            return
        if target.state == "spoilt":
            kind, told = "pinned file missing", f"in {target.root}, but {target.what}: restore it from a copy"
        else:
            kind = "pin gone"
            place = self._audit.text(now.place) or self._examined.root
            told = f"which is in none of the repositories (it was at {place}): bring it back, or put the component anew"
        self._report.add(
            kind, "error" if composite.live else "warning", f"{what}, {told}{trash}", record=composite
        )  # fmt: skip

    # Looking for datasets

    def _find(self, wanted: Sequence[tuple[str, UUID, str]], depth: int = 0) -> None:
        """Look for datasets of which nothing is remembered, along the chain."""
        missing: dict[str, dict[UUID, set[str]]] = {}
        for key in wanted:
            if key in self._known:
                self._known.move_to_end(key)
            else:
                missing.setdefault(key[0], {}).setdefault(key[1], set()).add(key[2])
        for type_, uuids in missing.items():
            for repository, audit in self._audits:
                left = [uuid for uuid, parts in uuids.items() if parts]
                for uuid, records in audit.by_uuids(type_, left).items() if left else ():
                    for part in tuple(uuids[uuid]):
                        record = next((r for r in records if not r.part), None) or next(
                            (r for r in records if r.part == part), None
                        )
                        if record is not None:
                            uuids[uuid].discard(part)
                            # Whoever pins itself in a circle finds this.
                            self._remember((type_, uuid, part), _Target("there"))
                            self._remember((type_, uuid, part), self._judged(repository, record, depth))
            for uuid, parts in uuids.items():
                for part in parts:
                    self._remember((type_, uuid, part), _Target("gone"))

    def _target(self, key: tuple[str, UUID, str]) -> _Target:
        if key not in self._known:
            self._find([key])
        return self._known[key]

    def _remember(self, key: tuple[str, UUID, str], target: _Target) -> None:
        self._known[key] = target
        # Never as few as one portion needs.
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _judged(self, repository: Repository, record: Record, depth: int) -> _Target:
        root = repository.root
        if repository is not self._examined:
            # What is in the repository itself is looked at anyway.
            what = _file_of(repository, record) if record.file is not None else self._within(repository, record, depth)
            if what:
                return _Target("spoilt", root, what)
        return _Target("there" if record.live else "trashed", root)

    def _within(self, repository: Repository, record: Record, depth: int) -> str:
        """Return what is wrong with what a composite of a parent pins, nothing if all is well."""
        if depth >= _DEEPEST:
            return ""
        pins = [pin for pin in repository.registry.pins(record.type, record.uuid) if pin.uuid is not None]
        keys = [(pin.type, pin.uuid, pin.part) for pin in pins if pin.uuid is not None]
        self._find(keys, depth + 1)
        for pin, key in zip(pins, keys, strict=True):
            target = self._target(key)
            if target.state == "gone" and self._examined.whole:
                return f"its component {pin.component!r} is {pin.type} with UUID {pin.uuid}, which is gone"
            if target.state == "spoilt":
                return f"of its component {pin.component!r} {target.what}"
        return ""

    # Precursors

    def check_precursors(self) -> None:
        """Look for every dataset that another was made from."""
        for portion in self._audit.precursors():
            self._report.counts["precursors"] += len(portion)
            wanted = [(row.type, row.uuid, "") for row in portion]
            self._find(wanted)
            for row, key in zip(portion, wanted, strict=True):
                if self._target(key).state != "gone":
                    continue
                record = self._audit.dataset(row.key[0], row.key[1])
                if record is None or not record.live:
                    continue
                if not self._examined.whole:
                    self._unfollowed += 1
                    continue
                self._report.add(
                    "precursor gone",
                    "note",
                    f"it was made from {row.type} {row.data_id} with UUID {row.uuid}, which is in none of the "
                    f"repositories (it was at {self._audit.text(row.place)})",
                    record=record,
                )


def _file_of(repository: Repository, record: Record) -> str:
    """Return what is wrong with a file of a parent, nothing if it is there, or may not be looked at."""
    file = record.file
    assert file is not None
    try:
        place = os.path.realpath(repository.files.absolute(file.path))
        if not repository.may_read(place):
            return ""
        status = os.stat(place)
    except BunterError as error:
        return str(error)
    except OSError as error:
        return f"its file {file.path} cannot be found ({error.strerror})"
    if not stat.S_ISREG(status.st_mode):
        return f"its file {file.path} is not a file any more"
    if status.st_size != file.size:
        return f"its file {file.path} has {status.st_size} bytes instead of {file.size}"
    return ""
