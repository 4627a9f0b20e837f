"""A WCS out of an exposure file, of every kind, equal to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, DistortionLookupTable, Sip
from bench import Row, row
from measure import Pace, clocked, in_turn, often
from walk import walk
from works_fits import sizes
from worlds_fits import ID, POLICY, exposure_world, tan

from bunter import Butler, Exposure, RepositoryArgs


def sip() -> WCS:
    """Return TAN with SIP distortions."""
    wcs = tan()
    chance = np.random.default_rng(2)
    a, b = (chance.normal(0.0, 1e-9, (4, 4)) for _ in range(2))
    for matrix in (a, b):
        matrix[np.add.outer(range(4), range(4)) > 3] = 0.0
        matrix[0, 0] = matrix[0, 1] = matrix[1, 0] = 0.0
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    wcs.sip = Sip(a, b, -a, -b, wcs.wcs.crpix)
    wcs.wcs.set()
    return wcs


def tpv() -> WCS:
    """Return TPV with polynomials of the third order."""
    wcs = tan()
    wcs.wcs.ctype = ["RA---TPV", "DEC--TPV"]
    chance = np.random.default_rng(3)
    terms = (0, 1, 2, 4, 5, 6, 7, 8, 9, 10)
    wcs.wcs.set_pv([(axis, term, float(term == 1) + chance.normal(0, 1e-4)) for axis in (1, 2) for term in terms])
    wcs.wcs.set()
    return wcs


def pc() -> WCS:
    """Return TAN with PC and CDELT."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [10.0, -30.0], [500.25, 511.75]
    wcs.wcs.cdelt, wcs.wcs.pc = [-7.3e-5, 7.3e-5], [[0.8, -0.6], [0.6, 0.8]]
    wcs.wcs.set()
    return wcs


def galactic() -> WCS:
    """Return a Hammer-Aitoff projection of galactic coordinates."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["GLON-AIT", "GLAT-AIT"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [0.0, 0.0], [1024.0, 1024.0], [-0.05, 0.05]
    wcs.wcs.set()
    return wcs


def zpn() -> WCS:
    """Return a zenithal polynomial projection."""
    wcs = tan()
    wcs.wcs.ctype = ["RA---ZPN", "DEC--ZPN"]
    wcs.wcs.set_pv([(2, 1, 1.0), (2, 3, 42.0)])
    wcs.wcs.set()
    return wcs


def tables() -> WCS:
    """Return TAN with look-up tables of distortions."""
    wcs = tan()
    values = np.random.default_rng(4).normal(0, 0.1, (16, 16)).astype("f4")
    for name in ("cpdis1", "cpdis2"):
        setattr(wcs, name, DistortionLookupTable(values, (1.0, 1.0), (1.0, 1.0), (160.0, 290.0)))
    return wcs


KINDS = {"TAN, CD": tan, "TAN, PC": pc, "SIP": sip, "TPV": tpv, "AIT": galactic, "ZPN": zpn, "look-up tables": tables}


def world_of(wcs: WCS) -> Any:
    pixels = np.random.default_rng(5).uniform(1, 2000, (1000, 2))
    return wcs.all_pix2world(pixels, 0)


def built() -> Any:
    """Build a TAN of numbers that are there already: the floor."""
    wcs = WCS(naxis=2)
    inner = wcs.wcs
    inner.ctype = ["RA---TAN", "DEC--TAN"]
    inner.crval, inner.crpix = [150.0, 2.0], [1024.5, 2048.5]
    inner.cd = [[-7.3e-5, 1.1e-7], [1.2e-7, 7.31e-5]]
    inner.cunit, inner.radesys = ["deg", "deg"], "ICRS"
    inner.set()
    return wcs


@row("wcs", "WCS object out of an exposure file")
def wcs(row: Row) -> None:
    world = row.run.world(exposure_world)
    with fits.open(world.path) as file:
        header = file["IMAGE"].header.copy()

    def ours() -> Any:
        return world.butler.get("calexp:sfm.wcs", ID)

    def astropy() -> Any:
        with fits.open(world.path) as file:
            return WCS(file["IMAGE"].header)

    row.ours = ours
    row.compare(
        {
            "bunter": clocked(often(ours)),
            "astropy": clocked(often(astropy)),
            "astropy, WCS(header) alone": clocked(often(lambda: WCS(header))),
            "floor": clocked(often(built)),
        }
    )
    row.walk, row.sizes = walk(ours), sizes(world)
    row.at_most("CPU", row.chosen("bunter"), 300e-6)
    unequal = []
    root = row.run.place("wcs") / "repository"
    with Butler(outputs=RepositoryArgs(root, policy=POLICY), durability="fast") as butler:
        for visit, (kind, make) in enumerate(KINDS.items()):
            given = make()
            butler.put(Exposure(np.zeros((8, 8), "f4"), wcs=given), "calexp:sfm", visit=visit, ccd="N3")
            got = butler.get("calexp:sfm.wcs", visit=visit, ccd="N3")
            if world_of(got).tobytes() != world_of(given).tobytes():
                unequal.append(kind)
        slow = Pace(rounds=5, span=row.run.pace.span)
        timers = {
            f"bunter, {kind}": clocked(often(lambda visit=visit: butler.get("calexp:sfm.wcs", visit=visit, ccd="N3")))
            for visit, kind in enumerate(KINDS)
        }
        row.times |= in_turn(timers, slow)
    usual = ("TAN, CD", "TAN, PC", "SIP", "TPV")
    slowest = max(usual, key=lambda kind: row.chosen(f"bunter, {kind}"))
    row.at_most(f"CPU of the slowest of {', '.join(usual)}: {slowest}", row.chosen(f"bunter, {slowest}"), 300e-6)
    row.at_most("kinds that are not equal to the last bit", len(unequal), 0, "")
    row.notes.append(
        f"1,000 points each of {', '.join(KINDS)}" + (f"; unequal: {', '.join(unequal)}" if unequal else "")
    )
