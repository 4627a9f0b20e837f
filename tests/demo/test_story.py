"""The demo itself, small: what it prints is measured, so what it says is tested."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bunter import Butler, ParameterError
from bunter.demo import run, sky
from bunter.demo.story import SIX_LINES, Outcome

SIZE = 512


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, str]:
    paper = io.StringIO()
    outcome = run(tmp_path_factory.mktemp("demo") / "new", SIZE, 1, console=Console(file=paper, width=10_000))
    return outcome, paper.getvalue()


def test_numbers_are_those_on_disk(told: tuple[Outcome, str]) -> None:
    outcome, text = told
    folder = Path(outcome.folder)
    exposures = sorted(folder.glob("single_visit/sfm/*/calexp-*.fits"))
    written = sorted((folder / "jointcal" / "jointcal").rglob("*.*"))
    assert len(exposures) == 4
    assert len(written) == 8
    assert outcome.bytes_of_exposures == sum(path.stat().st_size for path in exposures)
    assert outcome.bytes_of_exposures > 4 * SIZE**2 * 12
    assert outcome.bytes_written == sum(path.stat().st_size for path in written) < 30_000
    assert "written instead of" in text


def test_inputs_are_unchanged(told: tuple[Outcome, str]) -> None:
    outcome, text = told
    assert outcome.inputs_unchanged
    assert ": unchanged" in text


def test_before_the_fit_the_error_says_what_is_missing(told: tuple[Outcome, str]) -> None:
    outcome, text = told
    assert "calexp:jointcal" in outcome.error_before_fit
    assert "single_visit" in outcome.error_before_fit
    assert outcome.error_before_fit.splitlines()[0] in text


def test_plan_names_both_repositories(told: tuple[Outcome, str]) -> None:
    outcome, text = told
    lines = {line.split()[1]: line for line in outcome.plan.splitlines()[1:]}
    assert "jointcal/0/wcs-1-N3.fits" in lines["wcs"]
    assert "sfm/1/calexp-1-N3.fits" in lines["image"]
    assert "bytes" in lines["image"]
    assert outcome.plan.splitlines()[0] in text


def test_fit_made_it_better(told: tuple[Outcome, str]) -> None:
    outcome, _ = told
    assert outcome.truth_after.arcsec < outcome.truth_before.arcsec / 10
    assert outcome.visits_after.arcsec < outcome.visits_before.arcsec / 10
    assert outcome.truth_after.mag < outcome.truth_before.mag / 2
    assert outcome.truth_after.stars > 40


def test_result_has_the_pixels_of_the_first_stage(told: tuple[Outcome, str]) -> None:
    outcome, _ = told
    butler = Butler(Path(outcome.folder) / "jointcal")
    early = butler.get("calexp:sfm", visit=2, ccd="S1")
    late = butler.get("calexp:jointcal", visit=2, ccd="S1", tract=0)
    simulated = sky.simulate(2, "S1", sky.true_stars(SIZE, 1), SIZE, 1).exposure
    assert np.array_equal(late.image, simulated.image)
    assert np.array_equal(late.variance, simulated.variance)
    assert late.mask == simulated.mask
    assert late.psf == simulated.psf
    assert early == simulated
    assert not np.array_equal(late.wcs.wcs.crval, early.wcs.wcs.crval)
    assert late.photo_calib != early.photo_calib


def test_catalog_of_the_later_stage_has_its_calibration(told: tuple[Outcome, str]) -> None:
    butler = Butler(Path(told[0].folder) / "jointcal")
    catalog = butler.get("src:jointcal", visit=1, ccd="N3", tract=0)
    assert len(catalog) == len(butler.get("src:sfm", visit=1, ccd="N3"))
    assert catalog.photo_calib == butler.get("calexp:jointcal.photoCalib", visit=1, ccd="N3", tract=0)
    assert np.array_equal(catalog.wcs.wcs.cd, butler.get("calexp:jointcal.wcs", visit=1, ccd="N3", tract=0).wcs.cd)


def test_picture_is_a_png(told: tuple[Outcome, str]) -> None:
    assert Path(told[0].picture).read_bytes().startswith(b"\x89PNG\r\n")


def test_outcome_is_plain(told: tuple[Outcome, str]) -> None:
    again = json.loads(json.dumps(told[0].to_dict()))
    assert again["truth_after"]["arcsec"] == told[0].truth_after.arcsec


def test_six_lines_work_on_files_of_ones_own(told: tuple[Outcome, str], tmp_path: Path) -> None:
    outcome, text = told
    assert len(SIX_LINES.splitlines()) == 6
    folder = Path(outcome.folder)
    lines = SIX_LINES.format(
        repository=str(tmp_path / "mine"),
        output=str(tmp_path / "mine-jointcal"),
        policy=str(folder / "policy.yaml"),
        files=str(folder / "single_visit" / "sfm" / "*" / "calexp-*.fits"),
    )
    assert SIX_LINES.splitlines()[3] in text
    better = Butler(folder / "jointcal").get("calexp:jointcal.wcs", visit=1, ccd="N3", tract=0)
    names = {"better_wcs": better}
    exec(lines, names)
    got = Butler(tmp_path / "mine-jointcal").get("calexp:jointcal", visit=1, ccd="N3", tract=0)
    assert np.array_equal(got.wcs.wcs.crval, better.wcs.crval)
    assert np.array_equal(got.image, Butler(folder / "jointcal").get("calexp:sfm.image", visit=1, ccd="N3"))
    assert not list((tmp_path / "mine").rglob("*.fits"))


def test_command_prints_json_on_stdout_and_the_story_on_stderr(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("bunter")), "demo", str(tmp_path / "d"), "--size", "256", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "MPLCONFIGDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["inputs_unchanged"] is True
    assert "Where one get takes its parts from" in done.stderr


@pytest.mark.parametrize("size", [0, 255, 20_000])
def test_sizes_out_of_range(tmp_path: Path, size: int) -> None:
    with pytest.raises(ParameterError, match="256 to"):
        run(tmp_path / "new", size)
    assert not (tmp_path / "new").exists()


def test_without_matplotlib_all_but_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    paper = io.StringIO()
    outcome = run(tmp_path / "new", 256, console=Console(file=paper, width=10_000))
    assert outcome.picture is None
    assert "bunter[demo]" in paper.getvalue()
    assert outcome.inputs_unchanged


def test_run_leaves_astropy_as_it_was(told: tuple[Outcome, str]) -> None:
    from astropy.utils import data, iers

    assert iers.conf.auto_download is True
    assert data.conf.allow_internet is True
