"""The main job on simulated star fields, told step by step."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .report import Teller, best_time, bytes_in, counted, data_files, hashes, size_of

if TYPE_CHECKING:
    from astropy.table import Table
    from rich.console import Console

    from .. import Butler
    from .fit import Scatter

TRACT = 0

SIX_LINES = """\
from bunter import Butler, RepositoryArgs
Butler(outputs=RepositoryArgs({repository!r}, policy={policy!r})).ingest("calexp:sfm", {files!r})
butler = Butler(inputs={repository!r}, outputs={output!r})
exposure = butler.get("calexp:sfm", visit=1, ccd="N3")
exposure.wcs = better_wcs
butler.put(exposure, "calexp:jointcal", visit=1, ccd="N3", tract=0)
"""
"""What the demo does, for one's own files; ``better_wcs`` is any `astropy.wcs.WCS`."""


@dataclass(frozen=True)
class Outcome:
    """What the demo measured.

    Attributes
    ----------
    folder : str
        Where the repositories are.
    picture : str or None
        Where the picture is; None without matplotlib.
    error_before_fit : str
        What ``get("calexp:jointcal")`` said before the fit had run.
    plan : str
        Of one get.
    bytes_written, bytes_of_exposures : int
        By the later stage; and what writing its exposures again would have taken.
    inputs_unchanged : bool
        Whether every input file has the SHA-256 that it had before.
    visits_before, visits_after, truth_before, truth_after : Scatter
        One visit against the other; both against the truth.
    seconds_wcs, seconds_whole, seconds : float
        To get ``calexp:jointcal.wcs``, to get the whole, for the whole demo.
    """

    folder: str
    picture: str | None
    error_before_fit: str
    plan: str
    bytes_written: int
    bytes_of_exposures: int
    inputs_unchanged: bool
    visits_before: Scatter
    visits_after: Scatter
    truth_before: Scatter
    truth_after: Scatter
    seconds_wcs: float
    seconds_whole: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def simulated_story(folder: Path, size: int, seed: int, console: Console | None) -> Outcome:
    """Run the demo on simulated star fields in a fresh folder; see `bunter.demo.run`."""
    from .. import Butler, NotFoundError
    from . import sky
    from .fit import joint_fit

    tell = Teller(console)
    single, joint = folder / "single_visit", folder / "jointcal"
    folder.mkdir(parents=True, exist_ok=True)
    first = {"visit": sky.VISITS[0], "ccd": sky.CCDS[0], "tract": TRACT}

    tell.step(f"Single-visit processing: 2 visits x 2 CCDs of {size} x {size} pixels, in {single}")
    stars = _single_visit(single, folder, size, seed, tell)
    inputs = [path for path in single.rglob("*") if path.is_file() and not path.name.endswith(("-wal", "-shm"))]
    before = hashes(inputs)

    tell.step('Before the fit, butler.get("calexp:jointcal", ...) says')
    later = Butler(inputs=single, outputs=joint, producer="bunter demo")
    try:
        later.get("calexp:jointcal", first)
    except NotFoundError as error:
        refused = str(error)
    else:
        raise AssertionError("calexp:jointcal was there before anything had made it")
    tell.say(refused)

    tell.step("The joint fit: catalogs, WCSs and zero points of stage sfm; no pixels are read")
    catalogs: dict[Any, Table] = {}
    for ref in later.query("src:sfm"):
        catalog = ref.get()
        catalog.wcs = later.get("calexp:sfm.wcs", ref.data_id)
        catalog.photo_calib = later.get("calexp:sfm.photoCalib", ref.data_id)
        catalogs[ref.data_id["visit"], ref.data_id["ccd"]] = catalog
    fit = joint_fit(catalogs, later.get("refcat", tract=TRACT))
    tell.say(f"{counted(fit.stars, 'star')}, {fit.reference_stars} of them in the reference catalogue")

    tell.step(f"Put calexp:jointcal into {joint}")
    for (visit, ccd), wcs in fit.wcs.items():
        exposure = later.get("calexp:sfm", visit=visit, ccd=ccd)
        exposure.wcs, exposure.photo_calib = wcs, fit.photo_calib[visit, ccd]
        later.put(exposure, "calexp:jointcal", visit=visit, ccd=ccd, tract=TRACT)
    written = data_files(joint)
    exposures = list(single.glob("sfm/*/calexp-*.fits"))
    unchanged = hashes(inputs) == before
    tell.say(f"{size_of(bytes_in(written))} written instead of {size_of(bytes_in(exposures))}:")
    for path in written:
        tell.say(f"  {path.relative_to(joint)}  {path.stat().st_size} bytes")
    same = "unchanged" if unchanged else "CHANGED"
    tell.say(f"SHA-256 of all {counted(len(inputs), 'file')} in {single.name}: {same}")

    tell.step("Where one get takes its parts from")
    reader = Butler(joint)
    plan = str(reader.plan("calexp:jointcal", first))
    tell.say(plan)

    tell.step("Is it better? calexp:jointcal, read back")
    visits_before, truth_before = _scatters(reader, "sfm", stars)
    visits_after, truth_after = _scatters(reader, "jointcal", stars)
    tell.say(f"one visit against the other, before   {visits_before}")
    tell.say(f"one visit against the other, after    {visits_after}")
    tell.say(f"against the true sky, before          {truth_before}")
    tell.say(f"against the true sky, after           {truth_after}")

    tell.step("Time to get, a new Butler each time")
    seconds_wcs = best_time(lambda: Butler(joint).get("calexp:jointcal.wcs", first))
    seconds_whole = best_time(lambda: Butler(joint).get("calexp:jointcal", first), 3)
    tell.say(f"calexp:jointcal.wcs  {1000 * seconds_wcs:7.1f} ms")
    tell.say(f"calexp:jointcal      {1000 * seconds_whole:7.1f} ms")

    picture = tell.picture(folder / "residuals.png", lambda path: _draw(path, reader, stars))

    tell.step("The same on files of your own (they stay where they are)")
    tell.say(
        SIX_LINES.format(
            repository="mine", output="mine-jointcal", policy=str(folder / "policy.yaml"), files="*/calexp-*.fits"
        )
    )
    seconds = tell.seconds()
    tell.say(f"Done in {seconds:.1f} s. Look around: bunter ls calexp:jointcal --repo {joint}")
    return Outcome(
        folder=str(folder),
        picture=None if picture is None else str(picture),
        error_before_fit=refused,
        plan=plan,
        bytes_written=bytes_in(written),
        bytes_of_exposures=bytes_in(exposures),
        inputs_unchanged=unchanged,
        visits_before=visits_before,
        visits_after=visits_after,
        truth_before=truth_before,
        truth_after=truth_after,
        seconds_wcs=seconds_wcs,
        seconds_whole=seconds_whole,
        seconds=seconds,
    )


def _single_visit(single: Path, folder: Path, size: int, seed: int, tell: Teller) -> Table:
    """Simulate, detect and store; return the true stars."""
    from .. import Butler, RepositoryArgs
    from . import sky
    from .detect import detect

    policy = folder / "policy.yaml"
    policy.write_text(Path(__file__).with_name("policy.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    stars = sky.true_stars(size, seed)
    with Butler(outputs=RepositoryArgs(single, policy=policy), producer="bunter demo") as butler:
        butler.put(sky.reference_catalogue(stars, seed), "refcat", tract=TRACT)
        for visit in sky.VISITS:
            for ccd in sky.CCDS:
                exposure = sky.simulate(visit, ccd, stars, size, seed).exposure
                butler.put(exposure, "calexp:sfm", visit=visit, ccd=ccd)
                sources = detect(exposure)
                butler.put(sources, "src:sfm", visit=visit, ccd=ccd)
                tell.say(f"visit {visit}, ccd {ccd}: {counted(len(sources), 'source')}")
    return stars


def _seen(reader: Butler, stage: str, visit: int, ccd: str) -> Table:
    """The bright sources of one CCD on the sky, by the calibration of one stage."""
    from .fit import on_sky

    if stage == "jointcal":
        catalog = reader.get("src:jointcal", visit=visit, ccd=ccd, tract=TRACT)
        return on_sky(catalog, catalog.wcs, catalog.photo_calib)
    catalog = reader.get("src:sfm", visit=visit, ccd=ccd)
    wcs, photo_calib = (reader.get(f"calexp:sfm.{part}", visit=visit, ccd=ccd) for part in ("wcs", "photoCalib"))
    return on_sky(catalog, wcs, photo_calib)


def _scatters(reader: Butler, stage: str, stars: Table) -> tuple[Scatter, Scatter]:
    """The scatter of one visit against the other, and of both against the truth."""
    from astropy.table import vstack

    from . import sky
    from .fit import scatter

    one, other = (vstack([_seen(reader, stage, visit, ccd) for ccd in sky.CCDS]) for visit in sky.VISITS)
    return scatter((one, other)), scatter((one, stars), (other, stars))


def _draw(path: Path, reader: Butler, stars: Table) -> None:
    from . import sky
    from .fit import residuals
    from .picture import draw

    visit, ccd = sky.VISITS[0], sky.CCDS[0]
    before, after = (residuals(_seen(reader, stage, visit, ccd), stars) for stage in ("sfm", "jointcal"))
    exposure = reader.get("calexp:jointcal", visit=visit, ccd=ccd, tract=TRACT)
    draw(path, exposure, before, after, f"Stars of visit {visit}, ccd {ccd}: measured minus true position")
