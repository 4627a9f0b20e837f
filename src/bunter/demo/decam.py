"""The main job on real files: DECam CCDs of the DESI Legacy Imaging Surveys, ingested where they are.

The later stage is real too: the zero points and the astrometric offsets that legacyzpts measured, from the
``survey-ccds`` table. What its columns mean (https://www.legacysurvey.org/dr9/files/): ``ccdzpt`` is the AB magnitude
of a source of one count per second, so that the images, in counts (ADU) of the whole exposure, have the zero point
``ccdzpt + 2.5 log10(exptime)``, as legacypipe's ``DecamImage`` has it too; ``ccdraoff`` and ``ccddecoff`` are the
median of Gaia minus image in arcseconds on the sky, so they are added to CRVAL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ParameterError
from .report import Teller, best_time, bytes_in, counted, data_files, hashes, size_of

if TYPE_CHECKING:
    from astropy.table import Table
    from astropy.wcs import WCS
    from rich.console import Console

    from .. import Butler
    from ..exposure import Exposure, PhotoCalib
    from .fit import Scatter

_GAIA_DR2_EPOCH = 57205.875
"""Modified Julian date of 2015.5, the epoch of Gaia DR2 positions."""
_BRIGHT = 20.0
_RADIUS = 1.0

# Dataset type, where its files are, and the template where it is not the policy's.
_FILES: tuple[tuple[str, str, str | None], ...] = (
    ("ooi", "**/c4d_*_ooi_*.*.fits", None),
    ("ood", "**/c4d_*_ood_*.*.fits", None),
    ("oow", "**/c4d_*_oow_*.*.fits", None),
    ("psfex", "**/c4d_*-psfex.fits", None),
    ("splinesky", "**/c4d_*-*-splinesky.fits", None),
    ("splinesky:exposure", "**/c4d_*_ls[0-9]-splinesky.fits", None),
    # An older processing and an older layout have other names.
    ("ooi", "**/c4d_*_ooi_*-[NS]*[0-9].fits", "c4d_{_}_{_}_ooi_{filter}_{_}-{ccd}.fits"),
    ("ood", "**/c4d_*_ood_*-[NS]*[0-9].fits", "c4d_{_}_{_}_ood_{filter}_{_}-{ccd}.fits"),
    ("oow", "**/c4d_*_oow_*-[NS]*[0-9].fits", "c4d_{_}_{_}_oow_{filter}_{_}-{ccd}.fits"),
    ("psfex", "**/psfex/**/decam-*.fits", "psfex/{_}/{_}/decam-{visit:08d}-{ccd}.fits"),
    ("splinesky", "**/splinesky/**/decam-*.fits", "splinesky/{_}/{_}/decam-{visit:08d}-{ccd}.fits"),
    ("survey_ccd", "**/survey-ccds-*.fits.gz", None),
    ("brick", "**/survey-bricks.fits.gz", None),
    ("gaia", "**/gaia/chunk-*.fits", None),
)


@dataclass(frozen=True)
class Outcome:
    """What the demo on real files measured.

    Attributes
    ----------
    folder : str
        Where the repositories are.
    picture : str or None
        Where the picture is; None without matplotlib.
    ingested : dict
        Files of each dataset type.
    exposures : int
        How many were assembled.
    error_before : str
        What ``get("calexp:legacyzpts")`` said before the later stage.
    plan : str
        Of one get.
    bytes_written, bytes_of_files : int
        By the later stage; and of the files that its exposures are made of.
    inputs_unchanged : bool
        Whether every input file has the SHA-256 that it had before.
    gaia_before, gaia_after : Scatter
        Measured positions against Gaia (its magnitudes are of another band).
    visits_after : Scatter
        Visits in the same band against each other.
    seconds_wcs, seconds_whole, seconds : float
        To get ``calexp:legacyzpts.wcs``, to get the whole, for the whole demo.
    """

    folder: str
    picture: str | None
    ingested: dict[str, int]
    exposures: int
    error_before: str
    plan: str
    bytes_written: int
    bytes_of_files: int
    inputs_unchanged: bool
    gaia_before: Scatter
    gaia_after: Scatter
    visits_after: Scatter
    seconds_wcs: float
    seconds_whole: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def corrected_wcs(wcs: WCS, ra_offset: float, dec_offset: float) -> WCS:
    """Return a WCS moved by arcseconds on the sky, east and north (``ccdraoff``, ``ccddecoff``)."""
    new = wcs.deepcopy()
    ra, dec = wcs.wcs.crval
    new.wcs.crval = [ra + ra_offset / 3600 / np.cos(np.radians(dec)), dec + dec_offset / 3600]
    new.wcs.set()
    return new


def photo_calib_of(zero_point: float, exposure_time: float, rms: float, stars: int) -> PhotoCalib:
    """Return the calibration of an image in counts from its zero point for one count per second.

    The error is that of a mean: the scatter of `stars` calibrating stars over the root of their number.
    """
    from ..exposure import PhotoCalib

    return PhotoCalib.from_zero_point(zero_point + 2.5 * float(np.log10(exposure_time)), rms / max(stars, 1) ** 0.5)


def decam_story(folder: Path, source: Path, console: Console | None) -> Outcome:
    """Run the demo on DECam files; see `bunter.demo.run`."""
    from .. import Butler, NotFoundError, RepositoryArgs

    tell = Teller(console)
    found = {(name, template): sorted(source.glob(pattern)) for name, pattern, template in _FILES}
    for name in ("ooi", "survey_ccd"):
        if not any(files for (kind, _), files in found.items() if kind == name):
            pattern = next(pattern for kind, pattern, _ in _FILES if kind == name)
            raise ParameterError(
                f"--data: no file under {source} matches {pattern!r}; the demo runs on DECam images of the DESI Legacy "
                "Imaging Surveys in the layout of legacypipe's test cases"
            )
    inputs = sorted({path for files in found.values() for path in files})
    before = hashes(inputs)

    folder.mkdir(parents=True, exist_ok=True)
    root, later_root = folder / "decam", folder / "legacyzpts"
    tell.step(f"Ingest {counted(len(inputs), 'file')} under {source}, in place, into {root}")
    ingested: dict[str, int] = {}
    args = RepositoryArgs(root, policy=Path(__file__).with_name("decam.yaml"))
    with Butler(outputs=args, trust_paths=[str(source)], producer="bunter demo") as butler:
        for (name, template), files in found.items():
            if files:
                # The same brick table lies beside every test case.
                skip = "skip" if name == "brick" else "error"
                butler.ingest(name, files, mode="direct", template=template, on_exists=skip)
                ingested[name] = ingested.get(name, 0) + len(files)
    for name, count in ingested.items():
        tell.say(f"{name:20} {counted(count, 'file')}")

    later = Butler(inputs=root, outputs=later_root, trust_paths=[str(source)], producer="bunter demo")
    exposures = [ref.data_id for ref in later.query("calexp:cp")]
    brick = next(iter(later.query("brick"))).data_id["brick"]
    first = {**exposures[0], "brick": brick}
    tell.say(
        f"{counted(len(exposures), 'exposure')} calexp:cp, each made of {len(_files_of(later, exposures[0]))} files"
    )
    tell.say(f"one of them: {later.get('calexp:cp', exposures[0])!r}")

    tell.step('Before the later stage, butler.get("calexp:legacyzpts", ...) says')
    try:
        later.get("calexp:legacyzpts", first)
    except NotFoundError as error:
        refused = str(error)
    else:
        raise AssertionError("calexp:legacyzpts was there before anything had made it")
    tell.say(refused)

    tell.step(f"The later stage: zero points and offsets of survey-ccds, put into {later_root}")
    for data_id in exposures:
        row = later.get("survey_ccd", data_id)
        exposure = later.get("calexp:cp", data_id)
        exposure.wcs = corrected_wcs(exposure.wcs, float(row["ccdraoff"]), float(row["ccddecoff"]))
        stars = int(row["ccdnphotom"] if "ccdnphotom" in row else row["ccdnmatch"])
        exposure.photo_calib = photo_calib_of(
            float(row["ccdzpt"]), float(row["exptime"]), float(row["ccdphrms"]), stars
        )
        later.put(exposure, "calexp:legacyzpts", data_id, brick=brick)
    written = data_files(later_root)
    files = sorted({path for data_id in exposures for path in _files_of(later, data_id)})
    unchanged = hashes(inputs) == before
    tell.say(f"{size_of(bytes_in(written))} in {counted(len(written), 'file')} written; {size_of(bytes_in(files))} not")
    tell.say(f"SHA-256 of all {counted(len(inputs), 'file')}: {'unchanged' if unchanged else 'CHANGED'}")

    tell.step("Where one get takes its parts from")
    reader = Butler(later_root, trust_paths=[str(source)])
    plan = str(reader.plan("calexp:legacyzpts", first))
    tell.say(plan)

    tell.step("Is it better? Stars measured in every CCD, against Gaia at the date of the visit")
    seen = _compare(reader, exposures, brick)
    tell.say(f"against Gaia, before                   {seen.gaia_before}")
    tell.say(f"against Gaia, after                    {seen.gaia_after}")
    tell.say(f"visits in one band against each other  {seen.visits}")

    tell.step("Time to get, a new Butler each time")
    seconds_wcs = best_time(lambda: Butler(later_root, trust_paths=[str(source)]).get("calexp:legacyzpts.wcs", first))
    seconds_whole = best_time(lambda: Butler(later_root, trust_paths=[str(source)]).get("calexp:legacyzpts", first), 3)
    tell.say(f"calexp:legacyzpts.wcs  {1000 * seconds_wcs:7.1f} ms")
    tell.say(f"calexp:legacyzpts      {1000 * seconds_whole:7.1f} ms")

    # Drawn over the CCD that shows most of the stars.
    richest = exposures[max(range(len(exposures)), key=lambda n: len(seen.residuals_after[n]))]
    picture = tell.picture(
        folder / "residuals.png", lambda path: _draw(path, reader.get("calexp:cp", richest), seen, richest)
    )
    seconds = tell.seconds()
    tell.say(f"Done in {seconds:.1f} s. Look around: bunter ls calexp:legacyzpts --repo {later_root}")
    return Outcome(
        folder=str(folder),
        picture=None if picture is None else str(picture),
        ingested=ingested,
        exposures=len(exposures),
        error_before=refused,
        plan=plan,
        bytes_written=bytes_in(written),
        bytes_of_files=bytes_in(files),
        inputs_unchanged=unchanged,
        gaia_before=seen.gaia_before,
        gaia_after=seen.gaia_after,
        visits_after=seen.visits,
        seconds_wcs=seconds_wcs,
        seconds_whole=seconds_whole,
        seconds=seconds,
    )


def _files_of(butler: Butler, data_id: Mapping[str, Any]) -> list[Path]:
    """The files that one exposure of the pipeline is made of."""
    from urllib.parse import unquote, urlsplit

    names = ("ooi", "ood", "oow", "psfex", "splinesky")
    return [Path(unquote(urlsplit(str(butler.uri(name, data_id))).path)) for name in names]


def _gaia_at(butler: Butler, mjd: float) -> Table:
    """Gaia stars at a date: ``ra``, ``dec``, ``mag`` (G)."""
    from astropy.table import Table, vstack

    stars = vstack([ref.get() for ref in butler.query("gaia")], metadata_conflicts="silent")
    years = (mjd - _GAIA_DR2_EPOCH) / 365.25
    east, north = (np.nan_to_num(np.asarray(stars[name], dtype=float)) * years / 3.6e6 for name in ("pmra", "pmdec"))
    ra, dec = np.asarray(stars["ra"], dtype=float), np.asarray(stars["dec"], dtype=float)
    magnitude = np.asarray(stars["phot_g_mean_mag"], dtype=float)
    return Table({"ra": ra + east / np.cos(np.radians(dec)), "dec": dec + north, "mag": magnitude})


@dataclass(frozen=True, eq=False)
class _Comparison:
    gaia_before: Scatter
    gaia_after: Scatter
    visits: Scatter
    residuals_before: list[Table]
    residuals_after: list[Table]


def _compare(reader: Butler, exposures: Sequence[Mapping[str, Any]], brick: Any) -> _Comparison:
    """Measure the stars of every CCD and compare them with Gaia and with each other."""
    from .detect import detect
    from .fit import on_sky, residuals, scatter

    before, after = [], []
    bands: dict[str, list[Table]] = {}
    for data_id in exposures:
        exposure = reader.get("calexp:legacyzpts", data_id, brick=brick)
        catalog = detect(exposure)
        old = on_sky(catalog, reader.get("calexp:cp.wcs", data_id), exposure.photo_calib, _BRIGHT)
        new = on_sky(catalog, exposure.wcs, exposure.photo_calib, _BRIGHT)
        gaia = _gaia_at(reader, exposure.visit_info.mjd)
        before.append((old, gaia))
        after.append((new, gaia))
        # The other sources are galaxies, for whose wings no PSF has the right weight.
        stars = residuals(new, gaia, _RADIUS)
        bands.setdefault(str(exposure.metadata["FILTER"])[:1], []).append(stars)
    pairs = [(a, b) for lists in bands.values() for i, a in enumerate(lists) for b in lists[i + 1 :]]
    return _Comparison(
        scatter(*before, radius=_RADIUS, magnitudes=False),
        scatter(*after, radius=_RADIUS, magnitudes=False),
        scatter(*pairs, radius=_RADIUS),
        [residuals(*pair, radius=_RADIUS) for pair in before],
        [residuals(*pair, radius=_RADIUS) for pair in after],
    )


def _draw(path: Path, exposure: Exposure, seen: _Comparison, data_id: Mapping[str, Any]) -> None:
    """All CCDs show one piece of sky; draw them in the pixels of one of them."""
    from astropy.table import vstack

    from .picture import draw

    before, after = (vstack(tables) for tables in (seen.residuals_before, seen.residuals_after))
    for table in (before, after):
        table["x"], table["y"] = exposure.wcs.world_to_pixel_values(table["ra"], table["dec"])
    where = f"visit {data_id['visit']}, ccd {data_id['ccd']}"
    draw(path, exposure, before, after, f"Stars of all visits, measured minus Gaia, over {where}")
