from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bunter import Exposure, GaussianPsf, Mask, PhotoCalib, SourceCatalog, VisitInfo
from bunter.demo.assemble import calibrated_catalog
from bunter.testing import AssemblerTests


@dataclass
class Pair:
    left: Any
    right: Any = None


class Accessors:
    """A class with setters and getters in the spelling of the LSST stack, and one declared attribute."""

    note: Any

    def __init__(self, image: Any) -> None:
        self._image = image
        self._psf: Any = None
        self.note = None

    def getImage(self) -> Any:
        return self._image

    def setPsf(self, psf: Any) -> None:
        self._psf = psf

    def getPsf(self) -> Any:
        return self._psf


def join(data_id: dict[str, Any], components: dict[str, Any], kind: Any) -> Any:
    return kind([components["first"], components["second"], data_id["visit"]])


def part(obj: Any, data_id: dict[str, Any], components: dict[str, Any]) -> None:
    components["first"], components["second"], visit = obj
    if visit != data_id["visit"]:
        raise ValueError("another visit")


class TestGenericOnDataclasses(AssemblerTests):
    def class_obj(self) -> Any:
        return Pair

    def examples(self) -> Any:
        return [
            ({"visit": 1}, {"left": 1, "right": [1, 2]}),
            # What is falsy is there all the same.
            ({"visit": 2}, {"left": 0, "right": []}),
            ({"visit": 3}, {"left": np.arange(3.0), "right": {"a": float("nan")}}),
        ]

    def optional(self) -> Any:
        return ["right"]


class TestGenericOnAccessors(AssemblerTests):
    def class_obj(self) -> Any:
        return Accessors

    def examples(self) -> Any:
        return [({}, {"image": np.ones((2, 3)), "psf": "p", "note": "n"}), ({}, {"image": 0, "psf": 1, "note": ""})]

    def optional(self) -> Any:
        return ["psf", "note"]


class TestGenericOnDicts(AssemblerTests):
    def class_obj(self) -> Any:
        return dict

    def examples(self) -> Any:
        return [({"visit": 1}, {"a": 1, "b": None}), ({"visit": 1}, {"a": "x", "b": [1]})]

    def optional(self) -> Any:
        return ["b"]


class TestGenericOnExposures(AssemblerTests):
    def class_obj(self) -> Any:
        return Exposure

    def examples(self) -> Any:
        image = np.arange(12, dtype=np.float32).reshape(3, 4)
        mask = Mask(np.zeros((3, 4), np.int32), {"BAD": 0})
        info = VisitInfo(visit=1, exposure_time=30.0)
        plain = {"image": image, "mask": mask, "psf": GaussianPsf(2.0), "photoCalib": PhotoCalib(2.5)}
        plain["visitInfo"] = info
        return [({"visit": 1}, plain), ({"visit": 2}, {**plain, "image": image * np.nan})]

    def optional(self) -> Any:
        return ["mask", "psf", "photoCalib", "visitInfo"]


class TestAPairOfFunctions(AssemblerTests):
    def assembler(self) -> Any:
        return join

    def disassembler(self) -> Any:
        return part

    def class_obj(self) -> Any:
        return tuple

    def examples(self) -> Any:
        return [({"visit": 1}, {"first": 1, "second": None}), ({"visit": 2}, {"first": [], "second": "s"})]

    def optional(self) -> Any:
        return ["second"]


class TestTheCatalogOfTheDemo(AssemblerTests):
    def assembler(self) -> Any:
        return calibrated_catalog

    def class_obj(self) -> Any:
        return SourceCatalog

    def examples(self) -> Any:
        rows = SourceCatalog({"id": [1, 2], "flux": [1.0, 2.0]})
        return [({"visit": 1}, {"rows": rows, "wcs": None, "photoCalib": PhotoCalib(2.0)})]

    def optional(self) -> Any:
        return ["wcs", "photoCalib"]

    def read_only(self) -> bool:
        return True
