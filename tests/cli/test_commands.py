"""The command, run as a user runs it; only datasets that need no astropy, so that the tests are quick."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from bunter import Butler, RepositoryArgs

POLICY = """\
keys: {visit: int, ccd: str, tract: int}
datasets:
  summary:sfm: {storage: Json, template: "sfm/{visit:d}/summary-{ccd}.json"}
  summary:jointcal: {storage: Json, template: "jointcal/{tract:d}/summary-{visit:d}-{ccd}.json"}
  plane:sfm: {python: numpy.ndarray, storage: Npy, template: "plane/{visit:d}-{ccd}.npy"}
  pair:
    python: builtins.dict
    composite:
      early: summary:sfm
      late: summary:jointcal
"""

Run = Callable[..., Result]


@pytest.fixture
def repo(tmp_path: Path) -> str:
    root = str(tmp_path / "repo")
    with Butler(outputs=RepositoryArgs(root, policy=POLICY), durability="fast") as butler:
        for visit in (1, 2):
            for ccd in ("N3", "007"):
                butler.put({"visit": visit, "ccd": ccd}, "summary:sfm", visit=visit, ccd=ccd)
        butler.put({"seeing": 0.7}, "summary:jointcal", visit=1, ccd="N3", tract=0)
    return root


def test_help_names_every_command(run: Run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for command in ("init", "define", "types", "ingest", "ls", "plan", "get", "exists", "demo"):
        assert f"  {command}" in result.stdout


def test_import_of_the_command_is_light() -> None:
    code = "import sys, bunter.cli; print([m for m in ('click', 'rich', 'numpy', 'astropy') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_command_does_not_load_astropy_for_a_list(repo: str) -> None:
    code = (
        "import sys\nfrom bunter.cli.commands import bunter\n"
        f"bunter(['ls', 'summary:sfm', '--repo', {repo!r}, '--json'], standalone_mode=False)\n"
        "print([m for m in ('rich', 'numpy', 'astropy', 'pyarrow') if m in sys.modules], file=sys.stderr)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stderr.strip() == "[]"


def test_init_makes_a_repository_with_definitions_and_parents(run: Run, tmp_path: Path) -> None:
    Path("policy.yaml").write_text(POLICY)
    assert run("init", "first", "--policy", "policy.yaml").exit_code == 0
    result = run("init", "second", "--parent", "first")
    assert result.exit_code == 0
    assert "first" in result.stdout
    assert Butler("second").repositories() == [str(tmp_path / "second"), str(tmp_path / "first")]
    listed = run("types", "--repo", "second", "--json")
    assert json.loads(listed.stdout)["types"]["summary:jointcal"] == {"tract": "int", "visit": "int", "ccd": "str"}


def test_faulty_policy_is_told_with_its_line(run: Run) -> None:
    Path("bad.yaml").write_text("datasets:\n  a: {storage: Jsn, template: 'a-{visit:d}.json'}\n")
    result = run("init", "root", "--policy", "bad.yaml")
    assert result.exit_code == 2
    assert "bad.yaml:2" in result.stderr
    assert "Json" in result.stderr
    assert not Path("root").exists()


def test_define_adds_types_and_aliases(run: Run, repo: str) -> None:
    Path("more.yaml").write_text("datasets:\n  note: {storage: Json, template: 'note-{visit:d}.json'}\n")
    result = run("define", "more.yaml", "--alias", "summary=summary:jointcal", "--repo", repo)
    assert result.exit_code == 0
    shown = run("types", "--repo", repo)
    assert "note" in shown.stdout
    assert "visit: int" in shown.stdout
    assert "summary stands for summary:jointcal" in shown.stdout
    assert run("exists", "summary", "visit=1", "ccd=N3", "tract=0", "--repo", repo).exit_code == 0


@pytest.mark.parametrize("words", [[], ["--alias", "summary"]])
def test_define_nothing_is_a_mistake(run: Run, repo: str, words: list[str]) -> None:
    assert run("define", *words, "--repo", repo).exit_code == 2


def test_ls_shows_a_table_and_json(run: Run, repo: str) -> None:
    result = run("ls", "summary:sfm", "visit=1", "--repo", repo)
    assert result.exit_code == 0
    head, *rows = result.stdout.splitlines()
    assert head.split() == ["VISIT", "CCD", "REPOSITORY", "FILE"]
    assert [row.split()[:2] for row in rows] == [["1", "007"], ["1", "N3"]]
    assert "2 datasets" in result.stderr
    found = json.loads(run("ls", "summary:sfm", "--repo", repo, "--json").stdout)
    assert found[0]["data_id"] == {"visit": 1, "ccd": "007"}
    assert all(row["uuid"] and row["uri"].endswith(".json") for row in found)


def test_ls_where_order_and_limit(run: Run, repo: str) -> None:
    words = (
        "ls",
        "summary:sfm",
        "--where",
        "visit > 1",
        "--order-by",
        "-ccd",
        "--limit",
        "1",
        "--repo",
        repo,
        "--json",
    )
    found = json.loads(run(*words).stdout)
    assert [row["data_id"] for row in found] == [{"visit": 2, "ccd": "N3"}]


def test_ls_of_a_composite(run: Run, repo: str) -> None:
    found = json.loads(run("ls", "pair", "--repo", repo, "--json").stdout)
    assert [row["data_id"] for row in found] == [{"visit": 1, "ccd": "N3", "tract": 0}]
    assert found[0]["uri"] is None


def test_values_take_the_types_of_their_keys(run: Run, repo: str) -> None:
    assert json.loads(run("get", "summary:sfm", "visit=1", "ccd=007", "--repo", repo, "--json").stdout) == {
        "visit": 1,
        "ccd": "007",
    }


def test_plan_as_tree_and_json(run: Run, repo: str) -> None:
    tree = run("plan", "pair", "visit=1", "ccd=N3", "tract=0", "--repo", repo)
    assert tree.exit_code == 0
    assert "summary:jointcal" in tree.stdout
    plain = json.loads(run("plan", "pair", "visit=1", "ccd=N3", "tract=0", "--repo", repo, "--json").stdout)
    assert plain["complete"] is True
    assert set(plain["components"]) == {"early", "late"}


def test_plan_shows_what_is_missing(run: Run, repo: str) -> None:
    result = run("plan", "pair", "visit=2", "ccd=N3", "tract=0", "--repo", repo)
    assert result.exit_code == 0
    assert "MISSING" in result.stdout


def test_exists_answers_with_its_exit_code(run: Run, repo: str) -> None:
    yes = run("exists", "summary:sfm", "visit=1", "ccd=N3", "--repo", repo)
    assert (yes.exit_code, yes.stdout) == (0, "yes\n")
    no = run("exists", "summary:sfm", "visit=9", "ccd=N3", "--repo", repo, "--json")
    assert (no.exit_code, no.stdout) == (1, "false\n")
    mistake = run("exists", "summary:sfm", "visit=9", "--repo", repo)
    assert mistake.exit_code == 2
    assert "ccd" in mistake.stderr


def test_get_writes_a_file_once(run: Run, repo: str) -> None:
    words = ("get", "summary:jointcal", "visit=1", "ccd=N3", "tract=0", "--repo", repo, "-o", "out.json")
    result = run(*words)
    assert result.exit_code == 0
    assert json.loads(Path("out.json").read_text()) == {"seeing": 0.7}
    again = run(*words)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr
    assert run(*words, "--overwrite").exit_code == 0
    assert sorted(path.name for path in Path().iterdir()) == ["out.json", "repo"]


def test_get_into_an_unknown_format_says_what_there_is(run: Run, repo: str) -> None:
    result = run("get", "summary:jointcal", "visit=1", "ccd=N3", "tract=0", "--repo", repo, "-o", "out.doc")
    assert result.exit_code == 2
    assert ".parquet" in result.stderr
    assert not Path("out.doc").exists()


def test_get_prints_without_output(run: Run, repo: str) -> None:
    result = run("get", "summary:jointcal", "visit=1", "ccd=N3", "tract=0", "--repo", repo)
    assert result.stdout == "{'seeing': 0.7}\n"


def test_repository_from_the_environment(run: Run, repo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUNTER_REPO", repo)
    assert run("exists", "summary:sfm", "visit=1", "ccd=N3").exit_code == 0


def test_ingest_in_place_and_by_copy(run: Run, repo: str) -> None:
    for mode, visit in (("direct", 5), ("copy", 6)):
        folder = Path("files/sfm") / str(visit)
        folder.mkdir(parents=True)
        (folder / "summary-N3.json").write_text('{"a": 1}')
        result = run("ingest", "summary:sfm", f"files/sfm/{visit}/*.json", "--mode", mode, "--repo", repo)
        assert result.exit_code == 0, result.stderr
        assert "1 dataset in" in result.stdout
        assert run("get", "summary:sfm", f"visit={visit}", "ccd=N3", "--repo", repo).stdout == "{'a': 1}\n"


def test_ingest_with_a_data_id(run: Run, repo: str) -> None:
    Path("odd.json").write_text('{"a": 2}')
    words = ("ingest", "summary:sfm", "odd.json", "--id", "visit=7", "--id", "ccd=S1", "--repo", repo, "--json")
    assert [row["data_id"] for row in json.loads(run(*words).stdout)] == [{"visit": 7, "ccd": "S1"}]


def test_ingest_of_a_file_that_matches_nothing(run: Run, repo: str) -> None:
    Path("odd.json").write_text("{}")
    result = run("ingest", "summary:sfm", "odd.json", "--repo", repo)
    assert result.exit_code == 2
    assert "odd.json" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("get", "summery:sfm", "visit=1", "ccd=N3"), "did you mean 'summary'"),
        (("get", "summary", "visit=1", "ccd=N3"), "jointcal"),
        (("get", "summary:sfm", "visit=one", "ccd=N3"), "takes an integer"),
        (("get", "summary:sfm", "visit"), "KEY=VALUE"),
        (("get", "summary:sfm", "visit=1", "visit=2"), "twice"),
        (("get", "summary:sfm", "visit=1", "ccd=Q9"), "Q9"),
        (("get", "plane:sfm", "visit=1", "ccd=N3", "--bbox", "10:20"), "Y0:Y1,X0:X1"),
        (("ls", "summary:sfm", "vist=1"), "visit"),
        (("ls", "summary:sfm", "--where", "visit ="), "visit ="),
    ],
)
def test_mistakes_are_told_without_a_traceback(run: Run, repo: str, words: tuple[str, ...], said: str) -> None:
    result = run(*words, "--repo", repo)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_not_a_repository(run: Run) -> None:
    result = run("types", "--repo", "nowhere")
    assert result.exit_code == 2
    assert "nowhere" in result.stderr


def test_as_a_process(repo: str, tmp_path: Path) -> None:
    """The installed command, with real exit codes and streams."""
    command = [str(Path(sys.executable).with_name("bunter"))]
    environment = {**os.environ, "BUNTER_REPO": repo}
    for words, code in (
        (["exists", "summary:sfm", "visit=1", "ccd=N3"], 0),
        (["exists", "summary:sfm", "visit=3", "ccd=N3"], 1),
        (["exists", "summary:sfn", "visit=3", "ccd=N3"], 2),
    ):
        done = subprocess.run([*command, *words], capture_output=True, text=True, env=environment, cwd=tmp_path)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr


def test_demo_refuses_a_folder_with_files(run: Run) -> None:
    Path("full").mkdir()
    Path("full/file").write_text("x")
    result = run("demo", "full")
    assert result.exit_code == 2
    assert "empty folder" in result.stderr


def test_demo_refuses_a_size(run: Run) -> None:
    result = run("demo", "new", "--size", "3")
    assert result.exit_code == 2
    assert "256" in result.stderr
    assert not Path("new").exists()


def test_demo_refuses_data_without_images(run: Run) -> None:
    Path("empty").mkdir()
    result = run("demo", "new", "--data", "empty")
    assert result.exit_code == 2
    assert "ooi" in result.stderr
