"""What a verification found, as objects, as text and as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias
from uuid import UUID

from ..dataid import DataId
from ..registry.interface import Record

Severity: TypeAlias = Literal["error", "warning", "note"]

MOST = 10_000
"""Findings of one kind that are kept one by one; the others are counted."""

_SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Affected:
    """The dataset that a finding is about."""

    type: str
    data_id: DataId
    uuid: UUID

    def __str__(self) -> str:
        return f"{self.type} {self.data_id}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be, or that is worth knowing.

    Attributes
    ----------
    kind : str
        ``"file missing"``, ``"contents differ"``, ...; the page on `verify` has them all.
    severity : {"error", "warning", "note"}
        ``error``: something cannot be read as it was put. ``warning``: nothing is lost, but something is to be done.
    dataset : Affected or None
        The dataset that it is about.
    path : str
        As the registry has it: relative to the root, or absolute.
    message : str
        What is wrong, and what to do.
    repaired : bool
        Whether it was put right just now.
    """

    kind: str
    severity: Severity
    dataset: Affected | None
    path: str
    message: str
    repaired: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        dataset = None
        if self.dataset is not None:
            dataset = {
                "type": self.dataset.type,
                "data_id": dict(self.dataset.data_id),
                "uuid": str(self.dataset.uuid),
            }
        return {
            "kind": self.kind,
            "severity": self.severity,
            "dataset": dataset,
            "path": self.path,
            "message": self.message,
            "repaired": self.repaired,
        }


@dataclass(slots=True)
class Report:
    """What a verification found.

    Attributes
    ----------
    root : str
        The repository that was looked over.
    parents : tuple of str
        The repositories that it builds on. Of them only what this one pins was looked at.
    findings : list of Finding
        The errors come first. Of each kind so many are kept as fit into memory; `found` has their numbers.
    found : dict
        Kind -> how many there were.
    counts : dict
        ``datasets`` (live), ``trashed``, ``files``, ``files_read``, ``bytes_read``, ``without_checksum`` (after any
        were filled in), ``pins``, ``precursors``, ``leftovers``, ``unknown_files``, ``outside`` (not looked at).
    tally : dict
        How many findings are errors, warnings, notes, and how many were repaired.
    """

    root: str
    parents: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)
    found: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            (
                "datasets",
                "trashed",
                "files",
                "files_read",
                "bytes_read",
                "without_checksum",
                "pins",
                "precursors",
                "leftovers",
                "unknown_files",
                "outside",
            ),
            0,
        )
    )
    tally: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*_SEVERITIES, "repaired"), 0))

    @property
    def ok(self) -> bool:
        """Whether there is no error that was not repaired."""
        return not self.tally["error"]

    def add(
        self,
        kind: str,
        severity: Severity,
        message: str,
        *,
        path: str = "",
        record: Record | None = None,
        repaired: bool = False,
    ) -> None:
        """Add a finding."""
        self.found[kind] = number = self.found.get(kind, 0) + 1
        self.tally["repaired" if repaired else severity] += 1
        if number > MOST:
            return
        dataset = None if record is None else Affected(record.type, record.data_id, record.uuid)
        self.findings.append(Finding(kind, severity, dataset, printable(path), printable(message), repaired))

    def sort(self) -> None:
        """Put errors first, and what is repaired last among its like."""
        self.findings.sort(key=lambda finding: (_SEVERITIES.index(finding.severity), finding.repaired))

    def left_out(self) -> Mapping[str, int]:
        """Return how many findings of which kinds are counted only."""
        return {kind: number - MOST for kind, number in self.found.items() if number > MOST}

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "root": self.root,
            "ok": self.ok,
            "parents": list(self.parents),
            "counts": dict(self.counts),
            "found": dict(self.found),
            "tally": dict(self.tally),
            "findings": [finding.to_dict() for finding in self.findings],
        }

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Return the lines of a table: severity, kind, dataset, path, message."""
        lines: list[tuple[str, str, str, str, str]] = []
        for finding in self.findings:
            severity = "repaired" if finding.repaired else finding.severity
            dataset = "" if finding.dataset is None else str(finding.dataset)
            lines.append((severity, finding.kind, dataset, finding.path, finding.message))
        return lines

    def summary(self) -> str:
        """Return what was looked at and what came of it, in a few lines."""
        n = self.counts
        lines = [
            f"{self.root}: {n['datasets']} datasets and {n['trashed']} in the trash, {n['files']} files, "
            f"{n['pins']} pins; {n['files_read']} files read ({n['bytes_read']} bytes)"
        ]
        if n["without_checksum"]:
            lines.append(f"{n['without_checksum']} files have no checksum: only their sizes and times can be compared")
        if n["outside"]:
            lines.append(
                f"{n['outside']} files outside of the repository were not looked at: their folders are not trusted"
            )
        if self.parents:
            lines.append(
                f"of the parents only what is pinned here was looked at; verify each: {', '.join(self.parents)}"
            )
        for kind, number in self.left_out().items():
            lines.append(f"{number} more of the kind {kind!r} are not listed")
        told = [f"{number} {_plural(word, number)}" for word, number in self.tally.items() if number]
        lines.append(", ".join(told) if told else "nothing to complain about")
        return "\n".join(lines)

    def __str__(self) -> str:
        heading = ("SEVERITY", "KIND", "DATASET", "PATH", "MESSAGE")
        rows = self.rows()
        if not rows:
            return self.summary()
        widths = [max(len(row[i]) for row in [heading, *rows]) for i in range(4)]
        lines = [
            "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]])
            for row in [heading, *rows]
        ]
        return "\n".join([*lines, self.summary()])


def _plural(word: str, number: int) -> str:
    return word if number == 1 or word == "repaired" else f"{word}s"


def printable(text: str) -> str:
    r"""Return a text in which nothing moves a cursor or cannot be encoded.

    Examples
    --------
    >>> print(printable("a" + chr(10) + "b"))
    a\nb
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
