"""The commands about the trash, run as a user runs them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bunter import Butler, RepositoryArgs
from bunter.cli.commands import bunter

POLICY = """\
keys: {visit: int, ccd: str}
datasets:
  wcs: {storage: Json, template: "wcs/{visit:d}-{ccd}.json"}
  calib: {storage: Json, template: "calib/{visit:d}-{ccd}.json"}
  pair: {python: builtins.dict, composite: {wcs: wcs, calib: calib}}
"""

Run = Callable[..., Result]
ID = {"visit": 1, "ccd": "N3"}


@pytest.fixture
def repo(tmp_path: Path) -> str:
    root = str(tmp_path / "repo")
    with Butler(outputs=RepositoryArgs(root, policy=POLICY), durability="fast") as butler:
        butler.put({"n": 1}, "wcs", ID)
        butler.put({"n": 2}, "wcs", ID, replace=True)
        butler.put({"n": 3}, "wcs", visit=2, ccd="N3")
    return root


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, repo: str) -> Run:
    monkeypatch.setenv("BUNTER_REPO", repo)

    def call(*words: str) -> Result:
        result = CliRunner().invoke(bunter, words)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


def test_delete_trash_restore(run: Run, repo: str) -> None:
    result = run("delete", "wcs", "visit=2", "ccd=N3")
    assert (result.exit_code, result.stdout) == (0, f"wcs visit=2 ccd=N3 is in the trash of {repo}\n")
    result = run("trash")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["NAME", "DATA", "ID", "TRASHED", "AT", "(UTC)", "BYTES", "UUID"]
    assert [line.split()[:3] for line in lines[1:]] == [["wcs", "visit=2", "ccd=N3"], ["wcs", "visit=1", "ccd=N3"]]
    assert result.stderr == "2 datasets\n"
    (row,) = json.loads(run("trash", "wcs", "visit=2", "--json").stdout)
    assert (row["name"], row["data_id"], row["size"]) == ("wcs", {"visit": 2, "ccd": "N3"}, 8)
    assert row["trashed_at"].endswith("+00:00")
    assert json.loads(run("trash", "visit=1", "--json").stdout)[0]["data_id"] == ID
    result = run("restore", "wcs", "visit=2", "ccd=N3")
    assert result.stdout == f"wcs visit=2 ccd=N3 is back: UUID {row['uuid']}\n"
    assert run("exists", "wcs", "visit=2", "ccd=N3").exit_code == 0


def test_delete_and_restore_as_json(run: Run) -> None:
    assert json.loads(run("delete", "wcs", "visit=2", "ccd=N3", "--json").stdout)["data_id"]["visit"] == 2
    (row,) = json.loads(run("trash", "wcs", "visit=1", "--json").stdout)
    back = json.loads(run("restore", "wcs", "visit=1", "ccd=N3", "--uuid", row["uuid"], "--replace", "--json").stdout)
    assert (back["uuid"], back["data_id"]) == (row["uuid"], ID)


def test_what_others_are_made_of(run: Run, repo: str) -> None:
    with Butler(outputs=repo, durability="fast") as butler:
        butler.put({"wcs": {"n": 2}, "calib": {}}, "pair", ID)
    result = run("delete", "wcs", "visit=1", "ccd=N3")
    assert result.exit_code == 2
    assert "pair {'visit': 1, 'ccd': 'N3'}" in result.stderr
    assert run("delete", "wcs", "visit=1", "ccd=N3", "--force").exit_code == 0
    result = run("purge", "--yes")
    assert result.stdout.splitlines() == [
        f"{repo}: 1 dataset purged, 1 file removed, 8 bytes freed",
        "kept: wcs {'visit': 1, 'ccd': 'N3'} is part of pair {'visit': 1, 'ccd': 'N3'}",
    ]
    kept = json.loads(run("purge", "--dry-run", "--json").stdout)["kept"]
    assert [(row["name"], row["pinned_by"]) for row in kept] == [("wcs", [{"name": "pair", "data_id": ID}])]
    assert "1 dataset would be purged" in run("purge", "--dry-run", "--force").stdout
    assert json.loads(run("purge", "--yes", "--force", "--json").stdout) == {
        "datasets": 1, "files": 1, "bytes": 8, "dry_run": False, "kept": [],
    }  # fmt: skip


def test_purge_some(run: Run) -> None:
    run("delete", "wcs", "visit=2", "ccd=N3")
    assert "0 datasets purged" in run("purge", "--yes", "--older-than", "1d").stdout
    assert "1 dataset purged" in run("purge", "wcs", "visit=2", "--yes").stdout
    assert "1 dataset purged" in run("purge", "visit=1", "-y").stdout
    assert json.loads(run("trash", "--json").stdout) == []


def test_nobody_is_there_to_ask(run: Run) -> None:
    result = run("purge")
    assert result.exit_code == 2
    assert "--yes or --dry-run" in result.stderr
    assert len(json.loads(run("trash", "--json").stdout)) == 1


@pytest.mark.parametrize(("answer", "left"), [("n", 1), ("y", 0)])
def test_somebody_is_asked(repo: str, answer: str, left: int) -> None:
    ours, theirs = pty.openpty()
    code = "import sys\nfrom bunter.cli.commands import bunter\nbunter(['purge'])"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "BUNTER_REPO": repo},
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, answer.encode() + b"\n")
    _, said = child.communicate(timeout=60)
    os.close(ours)
    assert b"1 dataset and 8 bytes go for good. Purge?" in said
    assert child.returncode == (1 if left else 0)
    with Butler(repo) as butler:
        assert len(butler.trashed()) == left


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("restore", "wcs", "visit=2", "ccd=N3"), "in the trash"),
        (("restore", "wcs", "visit=1", "ccd=N3"), "replace=True"),
        (("restore", "wcs", "visit=1", "ccd=N3", "--uuid", "x"), "no UUID"),
        (("delete", "wcs", "visit=7", "ccd=N3"), "holds no wcs"),
        (("delete", "wcs", "visit=x", "ccd=N3"), "takes an integer"),
        (("trash", "wsc"), "did you mean 'wcs'"),
        (("purge", "--yes", "--older-than", "soon"), "30d"),
    ],
)
def test_mistakes_are_told_in_one_message(run: Run, words: tuple[str, ...], said: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
