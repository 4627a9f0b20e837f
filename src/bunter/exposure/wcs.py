"""World coordinate systems: equality by value, copies shifted by an origin."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from astropy.wcs import WCS, WCSBase, WcsError
from astropy.wcs.wcs import WCSHDO_P14, WCSHDO_all

_TABLES = ("cpdis1", "cpdis2", "det2im1", "det2im2")
_RELAX = WCSHDO_all | WCSHDO_P14


def same_wcs(a: WCS | None, b: WCS | None) -> bool:
    """Tell whether two WCS objects are equal by value.

    They are if they state the same header cards (to 14 significant digits, whichever way the cards were spelled) and
    have the same distortions: SIP coefficients (to 13 digits), lookup tables and -TAB arrays (exactly). The size of the
    image does not count.

    Parameters
    ----------
    a, b : astropy.wcs.WCS or None
        None is equal to None only.
    """
    if a is None or b is None:
        return a is b
    if a is b:
        return True
    one, two = parameters(a), parameters(b)
    return one.naxis == two.naxis and _same_cards(one, two) and _same_distortions(a, b) and _same_tabs(one, two)


def parameters(wcs: WCS) -> Any:
    """Return the `astropy.wcs.Wcsprm` of a WCS, also of a frozen one."""
    return WCSBase.wcs.__get__(wcs)


def check_wcs(value: Any) -> Any:
    """Return `value` if it is a WCS or None, else raise a `TypeError`."""
    if value is not None and not isinstance(value, WCS):
        kind = type(value)
        raise TypeError(f"wcs: an astropy.wcs.WCS or None is needed, not a {kind.__module__}.{kind.__qualname__}")
    return value


def shifted(wcs: WCS, origin: tuple[int, int]) -> WCS:
    """Return a copy of a WCS for a cutout whose first pixel is `origin` ``(y0, x0)`` of the full frame.

    Distortions move with it, whichever astropy is installed.
    """
    moved = copy.deepcopy(wcs)
    y0, x0 = origin
    if (y0, x0) == (0, 0):
        return moved
    step = np.zeros(moved.naxis)
    step[:2] = (x0, y0)[: moved.naxis]
    moved.wcs.crpix = np.asarray(moved.wcs.crpix) - step
    if moved.sip is not None:
        from astropy.wcs import Sip

        sip = moved.sip
        moved.sip = Sip(sip.a, sip.b, sip.ap, sip.bp, np.asarray(sip.crpix) - step[:2])
    seen: list[int] = []
    for name in _TABLES:
        table = getattr(moved, name)
        if table is not None and id(table) not in seen:
            seen.append(id(table))
            # crval is the pixel of the image where the table's reference pixel lies.
            table.crval = (table.crval[0] - x0, table.crval[1] - y0)
    moved.pixel_shape = None
    return moved


def _same_cards(one: Any, two: Any) -> bool:
    # Not Wcsprm.compare: it does not look at the coefficients of TPV and the other distortions that wcslib knows.
    try:
        # Of copies, because writing a header works out derived values in place.
        return bool(copy.deepcopy(one).to_header(_RELAX) == copy.deepcopy(two).to_header(_RELAX))
    except WcsError:
        # Parameters that make no WCS (yet) have no header.
        return bool(one.compare(two))


def _same_distortions(a: WCS, b: WCS) -> bool:
    # Files hold SIP coefficients with about 15 digits.
    if not _same_parts(WCSBase.sip.__get__(a), WCSBase.sip.__get__(b), ("a", "b", "ap", "bp", "crpix"), 1e-13):
        return False
    return all(_same_parts(getattr(a, t), getattr(b, t), ("crpix", "crval", "cdelt", "data")) for t in _TABLES)


def _same_tabs(one: Any, two: Any) -> bool:
    left, right = one.tab, two.tab
    return len(left) == len(right) and all(
        _same_parts(p, q, ("M", "K", "map", "crval", "coord")) for p, q in zip(left, right, strict=True)
    )


def _same_parts(a: Any, b: Any, names: tuple[str, ...], tolerance: float = 0.0) -> bool:
    if a is None or b is None:
        return a is b
    for name in names:
        p, q = getattr(a, name), getattr(b, name)
        if p is None or q is None:
            if p is not q:
                return False
        elif np.shape(p) != np.shape(q) or not np.allclose(p, q, rtol=tolerance, atol=0.0, equal_nan=True):
            return False
    return True
