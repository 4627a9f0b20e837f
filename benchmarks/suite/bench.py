"""What a row of the benchmark is made of, and what the works of one run share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hosts import PEER, Guest, MissingError
from measure import Pace, Timer, Times, in_turn

GUESTS: Mapping[str, tuple[str, ...]] = {"peer": PEER, "polars": ("polars", "numpy"), "fitsio": ("fitsio", "numpy")}


@dataclass(frozen=True, slots=True)
class Goal:
    """A target and what was measured.

    Attributes
    ----------
    unit : str
        ``s``, ``x`` (a ratio), ``B``, ``/s``, ``MiB`` or ``""``.
    least : bool
        Whether the limit is to be reached, not kept below.
    """

    what: str
    value: float
    limit: float
    unit: str
    least: bool = False

    @property
    def met(self) -> bool:
        """Tell whether the target is met."""
        return self.value >= self.limit if self.least else self.value <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "met": self.met}


class Run:
    """One run of the suite: repositories and processes that rows share.

    Parameters
    ----------
    folder : Path
        Where everything is made.
    size : {"quick", "usual", "full"}
        How much of it.
    """

    def __init__(self, folder: Path, size: str) -> None:
        self.folder = folder
        self.size = size
        self.skipped: dict[str, str] = {}
        self.guests: dict[str, Guest] = {}
        self.ending = ExitStack()
        self._worlds: dict[Any, Any] = {}

    @property
    def pace(self) -> Pace:
        """Return how long to measure."""
        return Pace(rounds=5, span=0.03, most=500) if self.size == "quick" else Pace()

    def guest(self, name: str) -> Guest | None:
        """Return a process in another environment, or None if there can be none."""
        if name not in self.guests and name not in self.skipped:
            try:
                self.guests[name] = Guest(name, GUESTS[name])
                self.ending.callback(self.guests[name].close)
            except MissingError as error:
                self.skipped[name] = str(error)
                print(f"without {name}: {error}", flush=True)
        return self.guests.get(name)

    def world(self, make: Callable[..., Any], *arguments: Any) -> Any:
        """Return what `make(run, *arguments)` makes, once a run."""
        key = make, arguments
        if key not in self._worlds:
            self._worlds[key] = make(self, *arguments)
        return self._worlds[key]

    def place(self, name: str) -> Path:
        """Return a fresh folder."""
        number = sum(1 for path in self.folder.iterdir() if path.name.startswith(name))
        made = self.folder / f"{name}-{number}"
        made.mkdir()
        return made


@dataclass(slots=True)
class Row:
    """One line of the table, as it is measured.

    Attributes
    ----------
    by : {"cpu", "wall"}
        Which time counts.
    times : dict
        ``bunter``, ``floor``, ``peer``, and what is done by hand by its tool's name.
    values : dict
        What is no time (bytes, MiB), likewise; with its unit.
    walk : dict
        Of one warm call: functions, calls, SELECTs.
    ours : callable or None
        The work of Bunter, for profiles.
    """

    key: str
    work: str
    run: Run
    sizes: str = ""
    by: str = "cpu"
    times: dict[str, Times] = field(default_factory=dict)
    values: dict[str, tuple[float, str]] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    walk: dict[str, Any] = field(default_factory=dict)
    ours: Callable[[], Any] | None = None

    def sized(self, usual: int, quick: int) -> int:
        """Return how many of something there are to be."""
        return quick if self.run.size == "quick" else usual

    def compare(self, timers: Mapping[str, Timer | None], pace: Pace | None = None) -> dict[str, Times]:
        """Measure works in turn and keep what they took; without those that are None."""
        there = {name: timer for name, timer in timers.items() if timer is not None}
        found = in_turn(there, pace or self.run.pace)
        self.times.update(found)
        return found

    def chosen(self, name: str) -> float:
        """Return the time that counts of a work."""
        return float(getattr(self.times[name], self.by))

    def at_most(self, what: str, value: float, limit: float, unit: str = "s") -> None:
        """Note a target that is kept if `value` is `limit` or less."""
        self.goals.append(Goal(what, value, limit, unit))

    def at_least(self, what: str, value: float, limit: float, unit: str = "x") -> None:
        """Note a target that is reached if `value` is `limit` or more."""
        self.goals.append(Goal(what, value, limit, unit, least=True))

    def over_floor(self, limit: float, ours: str = "bunter") -> None:
        """Note the target that a work takes at most `limit` times the floor."""
        self.at_most(f"{ours} / floor", self.chosen(ours) / self.chosen("floor"), limit, "x")

    def over_peer(self, limit: float) -> None:
        """Note the target that the peer takes at least `limit` times as long."""
        if "peer" in self.times:
            self.at_least("peer / bunter", self.chosen("peer") / self.chosen("bunter"), limit)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "key": self.key,
            "work": self.work,
            "sizes": self.sizes,
            "by": self.by,
            "times": {name: times.to_dict() for name, times in self.times.items()},
            "values": {name: {"value": value, "unit": unit} for name, (value, unit) in self.values.items()},
            "goals": [goal.to_dict() for goal in self.goals],
            "notes": self.notes,
            "walk": self.walk,
        }


Measure = Callable[[Row], None]

ROWS: dict[str, tuple[str, Measure]] = {}
"""Key -> what the work is, and what measures it."""


def row(key: str, work: str) -> Callable[[Measure], Measure]:
    """Add a line to the table."""

    def add(measure: Measure) -> Measure:
        ROWS[key] = work, measure
        return measure

    return add
