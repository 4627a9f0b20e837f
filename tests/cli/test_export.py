"""``bunter get -o``: any object into a file of the format of its suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from click.testing import CliRunner, Result

from bunter import Butler, RepositoryArgs
from bunter.cli.commands import bunter
from bunter.demo import sky

POLICY = Path(sky.__file__).with_name("policy.yaml")
WHERE = ("visit=1", "ccd=N3", "--repo", "repo")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("export") / "repo"
    stars = sky.true_stars(256, 1)
    with Butler(outputs=RepositoryArgs(root, policy=POLICY), durability="fast") as butler:
        butler.put(sky.simulate(1, "N3", stars, 256, 1).exposure, "calexp:sfm", visit=1, ccd="N3")
        butler.put(sky.reference_catalogue(stars, 1), "refcat", tract=0)
    return root


@pytest.fixture
def run(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "repo").symlink_to(root)
    return lambda *words: CliRunner().invoke(bunter, words, catch_exceptions=False)


# Astropy says so of every header that holds a WCS and no pixels, its own included.
@pytest.mark.filterwarnings("ignore:The WCS transformation has more axes")
def test_exposure_and_its_parts_as_fits(root: Path, run: Callable[..., Result]) -> None:
    exposure = Butler(root).get("calexp:sfm", visit=1, ccd="N3")
    for part in ("", ".image", ".wcs", ".mask", ".psf", ".photoCalib", ".visit_info"):
        result = run("get", f"calexp:sfm{part}", *WHERE, "-o", f"out{part}.fits")
        assert result.exit_code == 0, result.stderr
    assert np.array_equal(fits.getdata("out.image.fits"), exposure.image)
    with fits.open("out.wcs.fits") as file:
        headers = [WCS(hdu.header) for hdu in file]
    assert any(np.allclose(wcs.wcs.crval, exposure.wcs.wcs.crval) for wcs in headers)
    with fits.open("out.fits") as file:
        assert any(hdu.data is not None and np.array_equal(hdu.data, exposure.image) for hdu in file)


def test_cutout(root: Path, run: Callable[..., Result]) -> None:
    result = run("get", "calexp:sfm.image", *WHERE, "--bbox", "10:60,20:80", "-o", "cut.npy")
    assert result.exit_code == 0, result.stderr
    whole = Butler(root).get("calexp:sfm.image", visit=1, ccd="N3")
    assert np.array_equal(np.load("cut.npy"), whole[10:60, 20:80])


def test_cutout_outside_is_a_mistake(run: Callable[..., Result]) -> None:
    result = run("get", "calexp:sfm.image", *WHERE, "--bbox", "10:600,20:80", "-o", "cut.npy")
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr
    assert not Path("cut.npy").exists()


@pytest.mark.parametrize("suffix", ["fits", "parquet", "csv", "ecsv"])
def test_table(root: Path, run: Callable[..., Result], suffix: str) -> None:
    words = ("get", "refcat", "tract=0", "--repo", "repo", "--columns", "id,mag", "-o", f"stars.{suffix}")
    result = run(*words)
    assert result.exit_code == 0, result.stderr
    kind = {"csv": "ascii.csv", "ecsv": "ascii.ecsv"}.get(suffix, suffix)
    read = Table.read(f"stars.{suffix}", format=kind)
    reference = Butler(root).get("refcat", tract=0)
    assert read.colnames == ["id", "mag"]
    assert np.allclose(read["mag"], reference["mag"])


def test_unknown_column(run: Callable[..., Result]) -> None:
    result = run("get", "refcat", "tract=0", "--repo", "repo", "--columns", "id,mga", "-o", "stars.csv")
    assert result.exit_code == 2
    assert "mag" in result.stderr


def test_what_a_format_cannot_hold(run: Callable[..., Result]) -> None:
    result = run("get", "calexp:sfm", *WHERE, "-o", "out.csv")
    assert result.exit_code == 2
    assert result.stderr.startswith("bunter: ")
    assert not Path("out.csv").exists()


def test_value_as_json(run: Callable[..., Result]) -> None:
    result = run("get", "calexp:sfm.photoCalib", *WHERE, "--json")
    assert result.exit_code == 0
    assert "nanojansky_per_count" in result.stdout
