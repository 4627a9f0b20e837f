"""Objects that several users may hold at once, because none of them can change them."""

from __future__ import annotations

import copy
from typing import Any, NoReturn

import numpy as np
from astropy.wcs import WCS, WCSBase, WcsError

_DISTORTIONS = ("cpdis1", "cpdis2", "det2im1", "det2im2")
_CHANGING = frozenset(
    ("set_pv", "set_ps", "set", "cdfix", "celfix", "cylfix", "datfix", "fix", "spcfix", "unitfix", "bounds_check")
)
"""Methods of the parameters that change them."""


def freeze(obj: Any) -> Any:
    """Return `obj` in a form that cannot be changed, or None if there is none.

    Parameters
    ----------
    obj : object
        PhotoCalib, VisitInfo, Psf and Background come back as they are, strings and numbers too; an array as a
        read-only view; a Mask over one; a WCS as a `FrozenWCS`.

    Returns
    -------
    object or None
        None for anything else (tables, metadata, whole exposures, subclasses of arrays and of WCS, invalid WCS).
    """
    from .mask import Mask
    from .values import Frozen
    from .visit_info import VisitInfo

    if isinstance(obj, Frozen | VisitInfo | FrozenWCS | str | bytes | int | float | complex):
        return obj
    if type(obj) is np.ndarray:
        if obj.dtype.hasobject:
            return None
        view = obj.view()
        view.setflags(write=False)
        return view
    if type(obj) is Mask:
        return Mask(freeze(obj.array), obj.bits)
    if type(obj) is WCS:
        try:
            return FrozenWCS.of(obj)
        except WcsError:
            return None  # parameters that make no WCS (yet), which astropy cannot copy either
    return None


class FrozenWCS(WCS):  # type: ignore[misc]  # astropy is untyped
    """A WCS that cannot be changed; ``copy()`` and ``deepcopy()`` return a plain WCS that can.

    Made by `freeze`. Everything that reads works as for `astropy.wcs.WCS`; its arrays are read-only.
    """

    @classmethod
    def of(cls, wcs: WCS) -> FrozenWCS:
        """Return a frozen copy of a WCS."""
        frozen: FrozenWCS = cls.__new__(cls)
        _fill(frozen, wcs)
        # Derived values are worked out now, so that reading never changes anything later.
        if any(WCSBase.wcs.__get__(frozen).ctype):
            WCSBase.wcs.__get__(frozen).set()
        return frozen

    @property
    def wcs(self) -> Any:
        """The parameters, read-only."""
        return ReadOnly(WCSBase.wcs.__get__(self), "WCS")

    @property
    def sip(self) -> Any:
        """The SIP distortion, read-only, or None."""
        return sealed(WCSBase.sip.__get__(self))

    @property
    def cpdis1(self) -> Any:
        """A distortion table, read-only, or None."""
        return sealed(WCSBase.cpdis1.__get__(self))

    @property
    def cpdis2(self) -> Any:
        """A distortion table, read-only, or None."""
        return sealed(WCSBase.cpdis2.__get__(self))

    @property
    def det2im1(self) -> Any:
        """A distortion table, read-only, or None."""
        return sealed(WCSBase.det2im1.__get__(self))

    @property
    def det2im2(self) -> Any:
        """A distortion table, read-only, or None."""
        return sealed(WCSBase.det2im2.__get__(self))

    def __setattr__(self, name: str, value: Any) -> None:
        # astropy keeps what it has worked out under such names.
        if name.startswith("_") and name.endswith("_cache"):
            self.__dict__[name] = value
            return
        _refuse("WCS", name)

    def __delattr__(self, name: str) -> NoReturn:
        _refuse("WCS", name)

    def __copy__(self) -> WCS:
        return _thawed(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> WCS:
        return _thawed(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return freeze, (_thawed(self),)

    def to_header(self, *args: Any, **keywords: Any) -> Any:
        """Return the header, as `astropy.wcs.WCS.to_header` does."""
        return _thawed(self).to_header(*args, **keywords)

    def to_fits(self, *args: Any, **keywords: Any) -> Any:
        """Return the HDU list, as `astropy.wcs.WCS.to_fits` does."""
        return _thawed(self).to_fits(*args, **keywords)


def _thawed(frozen: WCS) -> WCS:
    wcs = WCS.__new__(WCS)
    _fill(wcs, frozen)
    return wcs


def _fill(target: WCS, source: WCS) -> None:
    """Make `target` a deep copy of `source`, whichever of them is frozen."""
    one, two, three, four = (copy.deepcopy(getattr(WCSBase, name).__get__(source)) for name in _DISTORTIONS)
    WCSBase.__init__(
        target,
        copy.deepcopy(WCSBase.sip.__get__(source)),
        (one, two),
        copy.deepcopy(WCSBase.wcs.__get__(source)),
        (three, four),
    )
    kept = {name: value for name, value in source.__dict__.items() if not name.endswith("_cache")}
    target.__dict__.update(copy.deepcopy(kept))


class ReadOnly:
    """A view of an object through which it can be read but not changed."""

    __slots__ = ("_of", "_what")

    def __init__(self, of: Any, what: str) -> None:
        object.__setattr__(self, "_of", of)
        object.__setattr__(self, "_what", what)

    def __getattr__(self, name: str) -> Any:
        of = object.__getattribute__(self, "_of")
        value = getattr(of, name)
        if not callable(value):
            return sealed(value)
        if name in _CHANGING:
            return lambda *args, **keywords: _refuse(self._what, name) if args or name != "set" else None

        def call(*args: Any, **keywords: Any) -> Any:
            return value(*(_bare(arg) for arg in args), **keywords)

        return call

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        _refuse(self._what, name)

    def __delattr__(self, name: str) -> NoReturn:
        _refuse(self._what, name)

    def __copy__(self) -> Any:
        return copy.deepcopy(self._of)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self._of, memo)

    def __reduce__(self) -> tuple[Any, ...]:
        return ReadOnly, (self._of, self._what)

    def __eq__(self, other: object) -> bool:
        return bool(self._of == _bare(other))

    __hash__ = None  # type: ignore[assignment]

    def __dir__(self) -> list[str]:
        return dir(self._of)

    def __repr__(self) -> str:
        return repr(self._of)

    def __str__(self) -> str:
        return str(self._of)


def _bare(value: Any) -> Any:
    return object.__getattribute__(value, "_of") if isinstance(value, ReadOnly) else value


def sealed(value: Any) -> Any:
    """Return what an attribute holds in a form that cannot be changed."""
    if value is None or isinstance(value, str | bytes | int | float | bool | np.generic):
        return value
    if isinstance(value, np.ndarray):
        # A copy: a view of memory that may be written could be made writable again.
        array = value.copy()
        array.setflags(write=False)
        return array
    if type(value).__name__ in ("StrListProxy", "UnitListProxy") or isinstance(value, list):
        return tuple(sealed(item) for item in value)
    if isinstance(value, tuple):
        return tuple(sealed(item) for item in value)
    if type(value).__module__.startswith("astropy.units"):
        return value
    return ReadOnly(value, type(value).__name__)


def _refuse(what: str, name: str) -> NoReturn:
    raise AttributeError(f"{name!r} cannot be changed: this {what} is shared and frozen; change wcs.copy() instead")
