"""``bunter verify`` as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from bunter import Butler, RepositoryArgs

POLICY = 'keys: {visit: int}\ndatasets: {note: {python: dict, storage: Json, template: "notes/{visit:d}.json"}}'

Run = Callable[..., Result]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    with Butler(outputs=RepositoryArgs(root, policy=POLICY), durability="fast") as butler:
        for visit in range(10):
            butler.put({"n": visit}, "note", visit=visit)
    return root


def test_a_sound_repository(run: Run, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("verify", "repo", "--read")
    assert result.exit_code == 0
    assert "10 datasets" in result.output
    assert "10 files read" in result.output
    assert "nothing to complain about" in result.output
    assert result.stderr == ""
    assert run("verify", "-r", "repo").exit_code == 0
    monkeypatch.setenv("BUNTER_REPO", "repo")
    assert run("verify").exit_code == 0


def test_a_damaged_repository(run: Run, repo: Path) -> None:
    (repo / "notes/3.json").write_text('{"n": 9}')
    (repo / "notes/own.txt").write_text("mine")
    assert run("verify", "repo").exit_code == 0
    result = run("verify", "repo", "--read", "--jobs", "2")
    assert result.exit_code == 1
    heading, error, note, *_ = result.output.splitlines()
    assert heading.split() == ["SEVERITY", "KIND", "DATASET", "PATH", "MESSAGE"]
    assert error.startswith("error")
    assert "contents differ" in error
    assert "note {'visit': 3}" in error
    assert "notes/own.txt" in note
    assert "1 error, 1 note" in result.output


def test_json(run: Run, repo: Path) -> None:
    (repo / "notes/3.json").unlink()
    result = run("verify", "repo", "--json")
    assert result.exit_code == 1
    told = json.loads(result.output)
    assert told["ok"] is False
    assert [(finding["kind"], finding["path"]) for finding in told["findings"]] == [("file missing", "notes/3.json")]
    assert told["findings"][0]["dataset"]["data_id"] == {"visit": 3}
    assert told["counts"]["datasets"] == 10


@pytest.mark.parametrize(("sample", "read"), [("4", 4), ("0.5", 5), ("20%", 2), ("1.0", 10), ("100%", 10)])
def test_samples(run: Run, repo: Path, sample: str, read: int) -> None:
    told = json.loads(run("verify", "repo", "--sample", sample, "--json").output)
    assert told["counts"]["files_read"] == read


def test_repair(run: Run, repo: Path, tmp_path: Path) -> None:
    path = tmp_path / "notes/77.json"
    path.parent.mkdir()
    path.write_text('{"n": 77}')
    assert run("ingest", "note", str(path), "-r", "repo").exit_code == 0
    (repo / f"bunter.yaml.part~{'0' * 16}").write_text("layout")
    result = run("verify", "repo", "--read", "--repair")
    assert result.exit_code == 0
    assert "2 repaired" in result.output
    assert "nothing to complain about" in run("verify", "repo", "--read").output


def test_mistakes(run: Run, repo: Path) -> None:
    assert run("verify", "nowhere").exit_code == 2
    assert "not a repository" in run("verify", "nowhere").stderr
    assert run("verify", "repo", "--sample", "many").exit_code == 2
    assert "0.1 or 10%" in run("verify", "repo", "--sample", "many").stderr
    assert run("verify", "repo", "--sample", "200%").exit_code == 2
    assert run("verify", "repo", "--jobs", "0").exit_code == 2


def test_a_repository_that_no_butler_opens(run: Run, repo: Path) -> None:
    with Butler(inputs=repo, outputs="child", durability="fast") as child:
        child.put({"n": 5}, "note", visit=50)
    shutil.move(repo, "away")
    assert run("ls", "note", "-r", "child").exit_code == 2
    result = run("verify", "child")
    assert result.exit_code == 1
    assert "parent unreachable" in result.output


def test_as_a_process(repo: Path) -> None:
    """Nothing but the report on stdout, nothing on stderr, and the exit code of the findings."""
    os.truncate(repo / "notes/1.json", 1)
    done = subprocess.run(
        [sys.executable, "-c", "from bunter.cli import main; main()", "verify", str(repo), "--json"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)["found"] == {"size differs": 1}
