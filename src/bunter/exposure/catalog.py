"""Catalogs: astropy tables that know the WCS and the calibration of the exposure they were measured on."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from astropy.table import Table, vstack

from ..words import listing
from .accessors import CalibratedAccessors
from .wcs import check_wcs, same_wcs

if TYPE_CHECKING:
    from .photo_calib import PhotoCalib


class SourceCatalog(CalibratedAccessors, Table):  # type: ignore[misc]  # astropy is untyped
    """An `astropy.table.Table` with a WCS and a photometric calibration attached.

    They are attributes of the object, never part of its columns or ``meta``; copies, slices, column selections and
    pickles keep them.

    Parameters
    ----------
    *args, **keywords
        As for `astropy.table.Table`.
    wcs : astropy.wcs.WCS, optional
        Of the exposure; by default that of the catalog given as data.
    photo_calib : PhotoCalib, optional
        Likewise.

    Examples
    --------
    >>> total = SourceCatalog()
    >>> total += SourceCatalog({"id": [1, 2]})
    >>> total += SourceCatalog({"id": [3]})
    >>> total["id"].tolist()
    [1, 2, 3]
    """

    __bunter_components__: ClassVar[Mapping[str, str]] = {"wcs": "astropy.wcs.WCS", "photo_calib": "bunter.PhotoCalib"}

    def __init__(self, *args: Any, wcs: Any = None, photo_calib: PhotoCalib | None = None, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        data = args[0] if args else keywords.get("data")
        if isinstance(data, SourceCatalog):
            wcs = data.wcs if wcs is None else wcs
            photo_calib = data.photo_calib if photo_calib is None else photo_calib
        self.wcs = wcs
        self.photo_calib = photo_calib

    @property
    def wcs(self) -> Any:
        """The WCS, or None."""
        return self.__dict__.get("_wcs")

    @wcs.setter
    def wcs(self, value: Any) -> None:
        self.__dict__["_wcs"] = check_wcs(value)

    @property
    def photo_calib(self) -> PhotoCalib | None:
        """The photometric calibration, or None."""
        return self.__dict__.get("_photo_calib")

    @photo_calib.setter
    def photo_calib(self, value: PhotoCalib | None) -> None:
        from .photo_calib import PhotoCalib

        if value is not None and not isinstance(value, PhotoCalib):
            raise TypeError(f"photo_calib: a PhotoCalib or None is needed, not {type(value).__name__}")
        self.__dict__["_photo_calib"] = value

    def _attach(self, other: SourceCatalog) -> None:
        self.__dict__["_wcs"], self.__dict__["_photo_calib"] = other.wcs, other.photo_calib

    def __getitem__(self, item: Any) -> Any:
        part = super().__getitem__(item)
        if isinstance(part, SourceCatalog):
            part._attach(self)
        return part

    def copy(self, copy_data: bool = True) -> SourceCatalog:
        """Return a copy; the WCS is shared with it (`copy.deepcopy` copies it too)."""
        part: SourceCatalog = super().copy(copy_data=copy_data)
        part._attach(self)
        return part

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> SourceCatalog:
        part = self.copy(True)
        part.__dict__["_wcs"] = copy.deepcopy(self.wcs, memo)
        return part

    def __getstate__(self) -> Any:
        return super().__getstate__(), self.wcs, self.photo_calib

    def __setstate__(self, state: Any) -> None:
        table, wcs, photo_calib = state
        super().__setstate__(table)
        self.__dict__["_wcs"], self.__dict__["_photo_calib"] = wcs, photo_calib

    def __iadd__(self, other: Any) -> SourceCatalog:
        """Append the rows of another table; a catalog without columns takes those of the other.

        A WCS or calibration that is not that of both catalogs is dropped: it would be wrong for some of the rows.

        Raises
        ------
        ValueError
            If the columns are not the same.
        """
        if not isinstance(other, Table):
            return NotImplemented
        if not self.colnames:
            whole = Table(other, copy=True)
            self.meta.update(copy.deepcopy(dict(other.meta)))
            if isinstance(other, SourceCatalog) and self.wcs is None and self.photo_calib is None:
                self._attach(other)
        elif not other.colnames:
            return self
        else:
            whole = self._joined(other)
            wcs, photo_calib = getattr(other, "wcs", None), getattr(other, "photo_calib", None)
            if self.wcs is not None and not same_wcs(self.wcs, wcs):
                self.wcs = None
            if self.photo_calib != photo_calib:
                self.photo_calib = None
        # In place, because `a += b` may not leave another name for `a` behind.
        self.remove_columns(list(self.colnames))
        self.add_columns(list(whole.columns.values()), names=list(whole.colnames), copy=False)
        return self

    def _joined(self, other: Any) -> Any:
        lacking = [name for name in self.colnames if name not in other.colnames]
        extra = [name for name in other.colnames if name not in self.colnames]
        if lacking or extra:
            raise ValueError(
                f"catalogs with different columns cannot be appended: lacking {listing(lacking)}; "
                f"beyond those of the first: {listing(extra)}"
            )
        return vstack([Table(self, copy=False), Table(other, copy=False)], metadata_conflicts="silent")
