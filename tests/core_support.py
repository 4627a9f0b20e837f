"""Classes, policies and a small world of repositories that the tests of the Butler share.

Test modules import it as ``tests.core_support``; policies name its classes so, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from bunter import Butler, RepositoryArgs

HERE = __name__


class World:
    """Repositories in a folder, and the Butlers on them, which are closed at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._butlers: list[Butler] = []

    def butler(self, output: str, policy: Any = None, *, inputs: Any = None, **options: Any) -> Butler:
        """Return a Butler that writes the repository `output`, made if need be."""
        options.setdefault("durability", "fast")
        options.setdefault("trust", [HERE])
        names = [inputs] if isinstance(inputs, str) else inputs
        roots = None if names is None else [self.folder / name for name in names]
        made = Butler(inputs=roots, outputs=RepositoryArgs(self.folder / output, policy=policy), **options)
        self._butlers.append(made)
        return made

    def reader(self, *names: str, **options: Any) -> Butler:
        """Return a read-only Butler on some repositories."""
        options.setdefault("trust", [HERE])
        roots = [self.folder / name for name in names]
        made = Butler(roots[0], **options) if len(roots) == 1 else Butler(inputs=roots, **options)
        self._butlers.append(made)
        return made

    def keep(self, butler: Butler) -> Butler:
        """Close a Butler at the end, too."""
        self._butlers.append(butler)
        return butler

    def files(self, name: str) -> list[str]:
        """Return the data files of a repository: what is there beyond its own bookkeeping."""
        root = self.folder / name
        found = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        return sorted(path for path in found if path.split(".")[0] not in ("registry", "policy", "bunter"))

    def close(self) -> None:
        """Close all Butlers."""
        for butler in self._butlers:
            butler.close()


@contextmanager
def making_world(folder: Path) -> Iterator[World]:
    """Make a world and close it."""
    world = World(folder)
    try:
        yield world
    finally:
        world.close()


def text_of(error: BaseException) -> str:
    """Return the message of an error with its notes."""
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


# Classes of a user, of every make that the generic assembler serves.


class Pair:
    """Takes its components by its constructor."""

    def __init__(self, wcs: Any, calib: Any) -> None:
        self.wcs = wcs
        self.calib = calib

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pair) and (self.wcs, self.calib) == (other.wcs, other.calib)

    __hash__ = None  # type: ignore[assignment]


class BySetter:
    """Takes them by methods whose names only a policy knows."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def install_wcs(self, value: Any) -> None:
        self._kept["wcs"] = value

    def fetch_wcs(self) -> Any:
        return self._kept["wcs"]

    def set_the_calib(self, value: Any) -> None:
        self._kept["calib"] = value

    def get_the_calib(self) -> Any:
        return self._kept["calib"]


class BySnake:
    """Takes them by ``set_x``."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def set_wcs(self, value: Any) -> None:
        self._kept["wcs"] = value

    def get_wcs(self) -> Any:
        return self._kept["wcs"]

    def set_calib(self, value: Any) -> None:
        self._kept["calib"] = value

    def get_calib(self) -> Any:
        return self._kept["calib"]


class ByCamel:
    """Takes them by ``setX``."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def setWcs(self, value: Any) -> None:
        self._kept["wcs"] = value

    def getWcs(self) -> Any:
        return self._kept["wcs"]

    def setCalib(self, value: Any) -> None:
        self._kept["calib"] = value

    def getCalib(self) -> Any:
        return self._kept["calib"]


class ByAttribute:
    """Declares attributes and nothing else."""

    wcs: Any = None
    calib: Any = None


class NoPlace:
    """Has a place for one of its components only."""

    wcs: Any = None


class Falsy(list[Any]):
    """An object that is false, as an empty table is; counts how often it is built."""

    built: ClassVar[int] = 0

    def __init__(self, wcs: Any, calib: Any) -> None:
        super().__init__()
        Falsy.built += 1
        self.wcs = wcs
        self.calib = calib


class Grumpy:
    """Its constructor raises a `TypeError` of its own."""

    def __init__(self, wcs: Any, calib: Any) -> None:
        raise TypeError("this wcs is not for me")


@dataclass
class VisitFacts:
    """Plain values for a whole visit."""

    visit: int
    airmass: float = 1.0
    words: list[str] = field(default_factory=list)


class Frame:
    """A stored whole with components, as an exposure is, in plain values."""

    __bunter_components__: ClassVar[Mapping[str, str]] = {
        "image": "builtins.list",
        "wcs": "builtins.dict",
        "photo_calib": "builtins.dict",
        "psf": "builtins.dict",
    }
    reads: ClassVar[int] = 0

    def __init__(self, image: Any, wcs: Any = None, photo_calib: Any = None, psf: Any = None) -> None:
        self.image = image
        self.wcs = wcs
        self.photo_calib = photo_calib
        self.psf = psf

    def to_dict(self) -> dict[str, Any]:
        return {"image": self.image, "wcs": self.wcs, "photo_calib": self.photo_calib, "psf": self.psf}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Frame:
        Frame.reads += 1
        return cls(**values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frame) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Frame({self.to_dict()})"


# Functions that policies name.


def assemble_pair(dataId: dict[str, Any], componentDict: dict[str, Any], classObj: Any) -> Any:
    return classObj(componentDict["wcs"], componentDict["calib"])


def take_pair_apart(obj: Any, dataId: dict[str, Any], componentDict: dict[str, Any]) -> None:
    assert componentDict == {}
    componentDict["wcs"] = obj.wcs
    componentDict["calib"] = obj.calib


def overlay(dataId: dict[str, Any], componentDict: dict[str, Any], classObj: Any) -> Any:
    """Use case 1: the whole object, with the newer parts laid over it."""
    frame = componentDict["calexp"]
    frame.wcs = componentDict["wcs"]
    frame.photo_calib = componentDict["calib"]
    return frame


def take_overlay_apart(obj: Any, dataId: dict[str, Any], componentDict: dict[str, Any]) -> None:
    componentDict["calexp"] = None
    componentDict["wcs"] = obj.wcs
    componentDict["calib"] = obj.photo_calib


def add_all(dataId: dict[str, Any], componentDict: dict[str, Any], classObj: Any) -> Any:
    return sum(item["n"] for item in componentDict["items"])


def mark_standard(obj: Any, dataId: dict[str, Any]) -> Any:
    return {**obj, "standardized_for": dataId["visit"]}


WCS_AND_CALIB = """
datasets:
  wcs: {python: dict, storage: Json, template: "wcs/{visit:d}-{ccd}.json"}
  calib: {python: dict, storage: Json, template: "calib/{visit:d}-{ccd}.json"}
"""


def pair_policy(python: str, extra: str = "", components: str = "{wcs: wcs, calib: calib}") -> str:
    """Return a policy with a composite of a wcs and a calib."""
    return WCS_AND_CALIB + f"  pair: {{python: {HERE}.{python}, composite: {components}{extra}}}\n"


def trash_policy() -> str:
    """Return a policy with that composite, one around it, and something that can be made from it."""
    return pair_policy("Pair") + (
        '  outer: {composite: {both: pair}}\n  coadd: {python: dict, storage: Json, template: "coadd/{tract:d}.json"}\n'
    )


FRAMES = f"""
datasets:
  calexp:sfm:
    python: {HERE}.Frame
    storage: Json
    template: "sfm/{{visit:d}}/calexp-{{ccd}}.json"
  calexp.wcs:jointcal: {{python: dict, storage: Json, template: "jointcal/{{tract:d}}/wcs-{{visit:d}}-{{ccd}}.json"}}
  calexp.photoCalib:jointcal:
    {{python: dict, storage: Json, template: "jointcal/{{tract:d}}/calib-{{visit:d}}-{{ccd}}.json"}}
  calexp:jointcal:
    base: calexp:sfm
    composite:
      wcs: calexp.wcs:jointcal
      photoCalib: {{datasetType: calexp.photoCalib:jointcal}}
"""

ID = {"visit": 1, "ccd": "N3"}
TRACT_ID = {**ID, "tract": 0}


def frame(n: int = 0, **parts: Any) -> Frame:
    """Return a frame that differs with `n`."""
    values: dict[str, Any] = {"wcs": {"crval": n}, "photo_calib": {"zero": 25 + n}, "psf": {"sigma": 2.0}}
    return Frame([n, 1, 2], **{**values, **parts})


def write_json(path: Path, value: Any) -> Path:
    """Write a JSON file as another program would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def raised(call: Callable[[], object]) -> BaseException | None:
    """Return what a call raises."""
    try:
        call()
    except Exception as error:
        return error
    return None
