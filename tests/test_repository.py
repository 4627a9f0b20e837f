from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import yaml

from bunter.definitions import load
from bunter.errors import DefinitionError, IntegrityError, RepositoryError, TrustError
from bunter.files.interface import StoredFile
from bunter.registry.interface import Changes
from bunter.registry.sqlite import SqliteRegistry
from bunter.repository import LAYOUT, Chain, Opened, Overlay, is_repository, resolve_root
from bunter.testing.registry_examples import dataset, one

POLICY = "datasets:\n  note: {python: dict, storage: Json, template: 'note-{visit:d}.json'}  # mine\n"


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("BUNTER_CONFIG", str(tmp_path / "configuration"))


@pytest.fixture
def opened(tmp_path):
    made = Opened(durable=False)
    yield made
    made.close()


@pytest.fixture
def opening():
    """Open repositories anew, as another Butler does, and close them at the end."""
    all_opened = []

    def fresh(**options):
        all_opened.append(Opened(durable=False, **options))
        return all_opened[-1]

    yield fresh
    for opened in all_opened:
        opened.close()


def policy(text=POLICY):
    return load(text, trusted=True)


def described(root):
    return yaml.safe_load((Path(root) / "bunter.yaml").read_text("utf-8"))


def rewrite(root, **changes):
    description = {**described(root), **changes}
    (Path(root) / "bunter.yaml").write_text(yaml.safe_dump(description), "utf-8")


# Making


def test_a_new_repository(opened, tmp_path):
    root = tmp_path / "deep" / "new"
    made = opened.make(str(root), [], policy())
    assert sorted(name for name in os.listdir(root) if "-" not in name) == [
        "bunter.yaml", "policy.yaml", "registry.sqlite",
    ]  # fmt: skip
    description = described(root)
    assert (description["layout"], UUID(description["id"])) == (LAYOUT, made.id)
    assert (root / "policy.yaml").read_text("utf-8") == POLICY
    assert made.definitions.find("note").keys == ("visit",)
    assert (made.parents, made.folders, made.writable, made.name) == ((), (), True, "new")
    made.registry.apply([Changes([dataset(one(1))])])


def test_a_repository_without_a_policy(opened, tmp_path):
    made = opened.make(str(tmp_path / "new"), [], None)
    assert not (tmp_path / "new" / "policy.yaml").exists()
    assert made.own is None
    assert dict(made.definitions.types) == {}


def test_parents_are_recorded_relative_and_absolute(opened, tmp_path):
    parent = opened.make(str(tmp_path / "a b" / "părent"), [], policy())
    child = opened.make(str(tmp_path / "child"), [parent], None)
    assert described(child.root)["parents"] == [
        {"path": "../a b/părent", "absolute": parent.root, "id": str(parent.id)}
    ]
    assert child.parents == (parent,)
    assert child.definitions.find("note").keys == ("visit",)


def test_an_empty_folder_becomes_one_and_keeps_its_permissions(opened, tmp_path):
    (tmp_path / "shared").mkdir(mode=0o770)
    (tmp_path / "shared").chmod(0o2775)
    opened.make(str(tmp_path / "shared"), [], policy())
    assert os.stat(tmp_path / "shared").st_mode & 0o7777 == 0o2775


@pytest.mark.parametrize("name", ["data.fits", "policy.yaml", "registry.sqlite", ".hidden"])
def test_a_folder_with_something_in_it_is_left_alone(opened, tmp_path, name):
    root = tmp_path / "full"
    root.mkdir()
    (root / name).write_text("mine")
    with pytest.raises(RepositoryError, match="full"):
        opened.make(str(root), [], policy())
    assert [(path.name, path.read_text()) for path in root.iterdir()] == [(name, "mine")]


@pytest.mark.parametrize("left", [["registry.sqlite"], ["registry.sqlite", "policy.yaml", "bunter.yaml.part~0123"]])
def test_what_a_killed_maker_left_is_finished(opened, tmp_path, left):
    root = tmp_path / "half"
    opened.make(str(tmp_path / "whole"), [], policy("datasets: {}"))
    opened.close()
    root.mkdir()
    for name in left:
        source = tmp_path / "whole" / name.partition(".part~")[0]
        shutil.copy(source, root / name)
    made = opened.make(str(root), [], policy())
    assert made.definitions.find("note").keys == ("visit",)


def test_a_registry_that_holds_something_is_not_made_anew(opened, tmp_path):
    made = opened.make(str(tmp_path / "old"), [], policy())
    made.registry.apply([Changes([dataset(one(1))])])
    opened.close()
    (tmp_path / "old" / "bunter.yaml").unlink()
    with pytest.raises(RepositoryError, match="neither empty nor a repository"):
        opened.make(str(tmp_path / "old"), [], policy())


def test_a_place_that_cannot_be(opened, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RepositoryError, match="cannot be made"):
        opened.make(str(tmp_path / "file" / "new"), [], None)
    with pytest.raises(RepositoryError, match="cannot be made"):
        opened.make(str(tmp_path / "file"), [], None)


def test_processes_that_make_one_repository_at_once(tmp_path):
    """The jobs of a batch all name the same new output."""
    script = """
import sys, os, time
from bunter.definitions import load
from bunter.repository import Opened
while not os.path.exists(sys.argv[2]):
    time.sleep(0.001)
opened = Opened(durable=False)
made = opened.make(sys.argv[1], [], load("datasets: {note: {python: dict, template: 'note.json'}}", trusted=True))
print(made.id, made.definitions.find("note").storage)
opened.close()
"""
    arguments = [sys.executable, "-c", script, str(tmp_path / "new"), str(tmp_path / "go")]
    processes = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    (tmp_path / "go").touch()
    said = {process.communicate(timeout=60)[0] for process in processes}
    assert len(said) == 1
    assert described(tmp_path / "new")["id"] in said.pop()


def test_another_was_faster_with_something_else(opened, opening, tmp_path):
    parent = opened.make(str(tmp_path / "parent"), [], policy())
    opening().make(str(tmp_path / "new"), [], policy())
    for parents, own in (([parent], policy()), ([], None), ([], policy("datasets: {}"))):
        with pytest.raises(RepositoryError, match="other parents or definitions"):
            opening().make(str(tmp_path / "new"), parents, own)
    assert opening().make(str(tmp_path / "new"), [], policy()).parents == ()


# Opening


def test_opening_gives_what_was_made(opened, opening, tmp_path):
    made = opened.make(str(tmp_path / "new"), [], policy())
    other = opening().open(str(tmp_path / "new"))
    assert (other.id, other.root, other.parents, other.writable) == (made.id, made.root, (), False)
    assert other.own is not None
    assert other.own.to_yaml() == POLICY


def test_each_is_opened_once(opening, opened, tmp_path):
    root = str(tmp_path / "new")
    opened.make(root, [], policy())
    (tmp_path / "link").symlink_to("new")
    fresh = opening()
    assert fresh.open(root) is fresh.open(str(tmp_path / "link")) is fresh.open(root + "/.")


def test_what_was_opened_to_read_can_become_the_output(opening, opened, tmp_path):
    root = str(tmp_path / "new")
    opened.make(root, [], policy())
    fresh = opening()
    read = fresh.open(root)
    with pytest.raises(RepositoryError, match="read-only"):
        read.registry.apply([Changes([dataset(one(1))])])
    written = fresh.open(root, writable=True)
    assert written is read
    written.registry.apply([Changes([dataset(one(1))])])
    assert fresh.open(root).writable


@pytest.mark.parametrize(("make", "words"), [(False, "no such folder"), (True, "it has no bunter.yaml")])
def test_no_repository(opened, tmp_path, make, words):
    if make:
        (tmp_path / "x").mkdir()
    with pytest.raises(RepositoryError, match=words):
        opened.open(str(tmp_path / "x"))
    assert not is_repository(str(tmp_path / "x"))


GOOD = {"layout": 1, "id": "6f7c2b2e-3d0c-4f0e-9c4b-0d7f3a1f0001"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "just words",
        "layout: 1",
        "id: 6f7c2b2e-3d0c-4f0e-9c4b-0d7f3a1f0001",
        yaml.safe_dump({**GOOD, "layout": "one"}),
        yaml.safe_dump({**GOOD, "id": "abc"}),
        yaml.safe_dump({**GOOD, "id": 7}),
        yaml.safe_dump({**GOOD, "parents": "x"}),
        yaml.safe_dump({**GOOD, "parents": ["x"]}),
        yaml.safe_dump({**GOOD, "parents": [{"path": 7, "id": GOOD["id"]}]}),
        yaml.safe_dump({**GOOD, "parents": [{"path": "x"}]}),
        yaml.safe_dump({**GOOD, "folders": 7}),
        yaml.safe_dump({**GOOD, "folders": [7]}),
        "layout: 1\nid: !!python/object/apply:os.system ['true']",
        "a: [" * 3000,
        "{" * 100_000,
        "a: &a [x, x]\nb: &b [*a, *a]\nlayout: *b",
        "layout: 1 # " + "x" * 1_100_000,
        "\x00",
        "\tlayout: 1",
    ],
)
def test_a_damaged_description(opened, tmp_path, text):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "bunter.yaml").write_text(text, "utf-8")
    with pytest.raises(RepositoryError, match=r"bunter\.yaml is damaged"):
        opened.open(str(tmp_path / "x"))


def test_a_description_that_is_not_text(opened, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "bunter.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RepositoryError, match="cannot be read"):
        opened.open(str(tmp_path / "x"))


@pytest.mark.parametrize("more", [{}, {"id": 7, "parents": {"other": "shape"}}])
def test_a_newer_layout(opened, opening, tmp_path, more):
    """Whatever else has changed in it, that is what is said."""
    opened.make(str(tmp_path / "new"), [], None)
    rewrite(tmp_path / "new", layout=LAYOUT + 1, **more)
    with pytest.raises(RepositoryError, match="newer Bunter"):
        opening().open(str(tmp_path / "new"))


def test_a_repository_without_its_registry(opened, opening, tmp_path):
    opened.make(str(tmp_path / "new"), [], None)
    opened.close()
    (tmp_path / "new" / "registry.sqlite").unlink()
    for writable in (False, True):
        with pytest.raises(RepositoryError, match=r"registry\.sqlite"):
            opening().open(str(tmp_path / "new"), writable=writable)
    assert not (tmp_path / "new" / "registry.sqlite").exists()


def test_a_faulty_policy(opened, opening, tmp_path):
    opened.make(str(tmp_path / "new"), [], policy())
    (tmp_path / "new" / "policy.yaml").write_text("datasets: {a: {tmplate: x}}")
    with pytest.raises(DefinitionError, match=r"policy\.yaml:1"):
        opening().open(str(tmp_path / "new"))


def test_a_read_only_folder_cannot_be_an_output(opened, tmp_path):
    root = opened.make(str(tmp_path / "new"), [], None).root
    opened.close()
    shelf = Path(shutil.move(root, Path(tempfile.gettempdir()) / f"bunter-{uuid4()}") if os.getuid() == 0 else root)
    script = """
import os, sys
from bunter.errors import RepositoryError
from bunter.repository import Opened
if os.getuid() == 0:
    # All that is imported on the way comes first: nobody need not be able to read this environment.
    first = Opened(); first.open(sys.argv[1]).registry.counts(); first.close()
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
print(Opened().open(sys.argv[1]).registry.counts())
try:
    Opened().open(sys.argv[1], writable=True)
except RepositoryError as error:
    print(error)
"""
    try:
        shelf.chmod(0o555)
        done = subprocess.run([sys.executable, "-c", script, str(shelf)], capture_output=True, text=True, timeout=60)
    finally:
        shelf.chmod(0o755)
        shutil.rmtree(shelf)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "{}"
    assert "read-only: it cannot be an output" in done.stdout


# Parents


def test_a_tree_of_repositories_can_be_moved(opened, opening, tmp_path):
    parent = opened.make(str(tmp_path / "tree" / "parent"), [], policy())
    opened.make(str(tmp_path / "tree" / "child"), [parent], None)
    opened.close()
    shutil.move(tmp_path / "tree", tmp_path / "moved")
    child = opening().open(str(tmp_path / "moved" / "child"))
    assert [p.root for p in child.parents] == [str(tmp_path / "moved" / "parent")]


def test_a_child_that_moved_alone_finds_its_parents(opened, opening, tmp_path):
    parent = opened.make(str(tmp_path / "parent"), [], policy())
    opened.make(str(tmp_path / "child"), [parent], None)
    opened.close()
    (tmp_path / "far" / "away").mkdir(parents=True)
    shutil.move(tmp_path / "child", tmp_path / "far" / "away" / "child")
    child = opening().open(str(tmp_path / "far" / "away" / "child"))
    assert [p.id for p in child.parents] == [parent.id]


def test_a_parent_that_is_gone_or_another(opened, opening, tmp_path):
    parent = opened.make(str(tmp_path / "parent"), [], policy())
    child = opened.make(str(tmp_path / "child"), [parent], None)
    opened.close()
    shutil.move(tmp_path / "parent", tmp_path / "elsewhere")
    with pytest.raises(RepositoryError, match=r"cannot be reached.*parent is not a repository.*bunter\.yaml"):
        opening().open(child.root)
    opening().make(str(tmp_path / "parent"), [], None)
    with pytest.raises(RepositoryError, match="is another repository"):
        opening().open(child.root)


def test_nobody_is_its_own_ancestor(opened, opening, tmp_path):
    first = opened.make(str(tmp_path / "a"), [], None)
    second = opened.make(str(tmp_path / "b"), [first], None)
    rewrite(first.root, parents=[{"path": "../b", "id": str(second.id)}])
    for root in (first.root, second.root):
        with pytest.raises(RepositoryError, match="its own ancestor"):
            opening().open(root)
    rewrite(first.root, parents=[{"path": ".", "id": str(first.id)}])
    with pytest.raises(RepositoryError, match="its own ancestor"):
        opening().open(first.root)


# Definitions


def test_definitions_are_read_live(opened, tmp_path):
    parent = opened.make(str(tmp_path / "parent"), [], policy())
    child = opened.make(str(tmp_path / "child"), [parent], None)
    assert not child.changed()
    (tmp_path / "parent" / "policy.yaml").write_text(POLICY.replace("note:", "word:"))
    assert child.changed()
    parent.read_definitions()
    child.read_definitions()
    assert not child.changed()
    assert list(child.definitions.types) == ["word"]


def test_a_policy_that_is_taken_away(opened, tmp_path):
    made = opened.make(str(tmp_path / "new"), [], policy())
    (tmp_path / "new" / "policy.yaml").unlink()
    assert made.changed()
    made.read_definitions()
    assert made.own is None
    assert dict(made.definitions.types) == {}


def test_a_policy_that_was_spoilt_leaves_the_old_definitions(opened, tmp_path):
    made = opened.make(str(tmp_path / "new"), [], policy())
    (tmp_path / "new" / "policy.yaml").write_text("datasets: [")
    for _ in range(2):
        with pytest.raises(DefinitionError):
            made.read_definitions()
        assert made.changed()
    assert made.definitions.find("note").keys == ("visit",)


def test_defining(opened, opening, tmp_path):
    made = opened.make(str(tmp_path / "new"), [], policy())
    made.define(policy(POLICY.replace("note:", "word:")))
    assert not made.changed()
    assert list(made.definitions.types) == list(opening().open(made.root).definitions.types) == ["word"]
    assert not [name for name in os.listdir(made.root) if "part~" in name]


def test_a_policy_that_cannot_be_written(opened, tmp_path):
    made = opened.make(str(tmp_path / "new"), [], policy())
    (tmp_path / "new" / "policy.yaml").unlink()
    (tmp_path / "new" / "policy.yaml").mkdir()
    with pytest.raises(RepositoryError, match="cannot be written"):
        made.define(policy())
    assert not [name for name in os.listdir(made.root) if "part~" in name]


# Files outside


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    (folder / "a.fits").write_bytes(b"content")
    return StoredFile(str(folder / "a.fits"), False, 7, (folder / "a.fits").stat().st_mtime_ns, None, {})


def content(repository, file):
    source = repository.open_file(file)
    try:
        return bytes(source.read_all())
    finally:
        source.close()


def test_files_outside_are_not_opened(opened, tmp_path, outside):
    made = opened.make(str(tmp_path / "new"), [], None)
    with pytest.raises(TrustError, match="trust_paths"):
        made.open_file(outside)
    (tmp_path / "new" / "link.fits").symlink_to(outside.path)
    with pytest.raises(TrustError, match="archive"):
        made.open_file(StoredFile("link.fits", True, 7, None, None, {}))
    (tmp_path / "new" / "folder").symlink_to(tmp_path / "archive")
    with pytest.raises(TrustError, match="archive"):
        made.open_file(StoredFile("folder/a.fits", True, 7, None, None, {}))
    with pytest.raises(IntegrityError, match="outside"):
        made.open_file(StoredFile("../archive/a.fits", True, 7, None, None, {}))
    # A folder whose name begins as the root's does is not in the root.
    (tmp_path / "new-secret").mkdir()
    with pytest.raises(TrustError, match="new-secret"):
        made.open_file(StoredFile(str(tmp_path / "new-secret" / "a"), False, 7, 0, None, {}))


def test_files_inside_are_opened_however_they_are_named(opened, tmp_path):
    made = opened.make(str(tmp_path / "new"), [], None)
    (tmp_path / "new" / "a").write_bytes(b"content")
    (tmp_path / "new" / "link").symlink_to("a")
    for path in ("a", "link", str(tmp_path / "new" / "a")):
        assert content(made, StoredFile(path, True, 7, None, None, {})) == b"content"


def test_folders_that_the_user_trusts(opened, opening, tmp_path, outside):
    opened.make(str(tmp_path / "new"), [], None)
    (tmp_path / "link").symlink_to("archive")
    for trusted in ("archive", "link", "."):
        made = opening(trust_paths=[tmp_path / trusted]).open(str(tmp_path / "new"))
        assert content(made, outside) == b"content"


def test_folders_that_the_user_listed(opened, opening, tmp_path, outside):
    made = opened.make(str(tmp_path / "new"), [], None)
    made.list_folders([tmp_path / "archive", tmp_path / "new" / "inside", tmp_path / "archive"])
    assert described(made.root)["folders"] == [str(tmp_path / "archive")]
    assert content(made, outside) == b"content"
    again = opening().open(made.root)
    assert content(again, outside) == b"content"
    assert again.id == made.id
    stamp = os.stat(tmp_path / "new" / "bunter.yaml").st_mtime_ns
    made.list_folders([tmp_path / "archive"])
    assert os.stat(tmp_path / "new" / "bunter.yaml").st_mtime_ns == stamp


@pytest.mark.parametrize("signature", [None, "", "0" * 64, "é", 7, ["x"]])
def test_folders_that_somebody_else_listed(opened, opening, tmp_path, outside, signature):
    made = opened.make(str(tmp_path / "new"), [], None)
    rewrite(made.root, folders=[str(tmp_path / "archive")], signature=signature)
    again = opening().open(made.root, writable=True)
    with pytest.raises(TrustError, match="trust_paths"):
        again.open_file(outside)
    with pytest.raises(TrustError, match="did not list yourself"):
        again.list_folders([tmp_path / "more"])
    assert described(made.root)["folders"] == [str(tmp_path / "archive")]
    trusting = opening(trust_paths=[tmp_path / "archive"]).open(made.root, writable=True)
    assert content(trusting, outside) == b"content"
    trusting.list_folders([tmp_path / "more"])
    assert described(made.root)["folders"] == [str(tmp_path / "archive"), str(tmp_path / "more")]
    assert content(opening().open(made.root), outside) == b"content"


def test_a_signature_is_for_one_repository_and_its_folders(opened, opening, tmp_path, outside):
    made = opened.make(str(tmp_path / "new"), [], None)
    made.list_folders([tmp_path / "other"])
    rewrite(made.root, folders=[str(tmp_path / "other"), str(tmp_path / "archive")])
    with pytest.raises(TrustError):
        opening().open(made.root).open_file(outside)
    made = opened.make(str(tmp_path / "second"), [], None)
    made.list_folders([tmp_path / "archive"])
    rewrite(made.root, id=str(uuid4()))
    with pytest.raises(TrustError):
        opening().open(made.root).open_file(outside)


def test_folders_that_are_listed_at_once(opened, opening, tmp_path):
    """Two ingests each list their own; none is lost."""
    made = opened.make(str(tmp_path / "new"), [], None)
    first, second = (opening().open(made.root, writable=True) for _ in range(2))
    first.list_folders([tmp_path / "a"])
    second.list_folders([tmp_path / "b"])
    first.list_folders([tmp_path / "c"])
    assert described(made.root)["folders"] == [str(tmp_path / name) for name in "abc"]
    assert described(made.root)["id"] == str(made.id)


def test_an_overlay_opens_what_its_output_would(opened, opening, tmp_path, outside):
    made = opened.make(str(tmp_path / "new"), [], None)
    rewrite(made.root, folders=[str(tmp_path / "archive")], signature="0" * 64)
    strange = Overlay(opening().open(made.root, writable=True))
    with pytest.raises(TrustError):
        strange.open_file(outside)
    mine = opened.make(str(tmp_path / "mine"), [], None)
    overlay = Overlay(mine)
    mine.list_folders([tmp_path / "archive"])
    assert content(overlay, outside) == b"content"
    assert (overlay.root, overlay.parents, overlay.changed()) == (mine.root, (mine,), False)
    assert overlay.id != mine.id
    overlay.registry.apply([Changes([dataset(one(1))])])
    assert mine.registry.counts() == {}
    overlay.registry.close()
    strange.registry.close()


# Places


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("/a/b", "/a/b"),
        (Path("/a/b/../c"), "/a/c"),
        ("file:///a/b", "/a/b"),
        ("file:/a/b", "/a/b"),
        ("file:///a%20b/c%23", "/a b/c#"),
        ("file://localhost/a", "/a"),
        ("/a/night:2", "/a/night:2"),
    ],
)
def test_places(place, expected):
    assert resolve_root(place) == expected


def test_relative_places_are_of_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_root("a/b") == str(tmp_path / "a" / "b")
    assert resolve_root("run:3") == str(tmp_path / "run:3")


@pytest.mark.parametrize("place", ["s3://bucket/repo", "https://example.org/repo", "gs://x"])
def test_other_schemes(place):
    with pytest.raises(RepositoryError, match="repositories live in folders"):
        resolve_root(place)


# Chains


@pytest.fixture
def family(opened, tmp_path):
    """Make repositories: ``family(a=[], b=["a"])``."""
    made = {}

    def make(**parents):
        for name, above in parents.items():
            made[name] = opened.make(str(tmp_path / name), [made[parent] for parent in above], None)
        return made

    return make


def order(chain):
    return [repository.name for repository in chain]


@pytest.mark.parametrize(
    ("parents", "starts", "expected"),
    [
        ({"a": [], "b": ["a"], "c": ["b"]}, ["c"], ["c", "b", "a"]),
        ({"a": [], "b": [], "c": ["b", "a"]}, ["c"], ["c", "b", "a"]),
        ({"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}, ["d"], ["d", "b", "c", "a"]),
        # The first parent is an ancestor of the second: it comes after it.
        ({"a": [], "b": ["a"], "c": ["a", "b"]}, ["c"], ["c", "b", "a"]),
        ({"a": [], "b": [], "c": ["a"]}, ["b", "c"], ["b", "c", "a"]),
        ({"a": [], "b": [], "c": ["a"]}, ["a", "b", "c"], ["b", "c", "a"]),
        ({"a": [], "b": ["a"], "c": ["b"], "d": ["a", "c"], "e": ["d", "b"]}, ["e"], ["e", "d", "c", "b", "a"]),
        ({"a": []}, ["a", "a"], ["a"]),
    ],
)
def test_the_order_of_search(family, parents, starts, expected):
    """The nearest first, in the order that was given, each once, and none before one that descends from it."""
    made = family(**parents)
    chain = Chain([made[name] for name in starts])
    assert order(chain) == expected
    for index, repository in enumerate(chain.order):
        later = {other.id for other in chain.order[index:]}
        assert chain.ancestors[repository.id] <= later


def test_ancestors(family):
    made = family(a=[], b=["a"], c=["a"], d=["b", "c"], x=[])
    chain = Chain([made["d"], made["x"]])
    above = {one.name: {other.name for other in chain if other.id in chain.ancestors[one.id]} for one in chain}
    assert above == {"d": {"a", "b", "c"}, "b": {"a"}, "c": {"a"}, "a": set(), "x": set()}
    assert order(chain.beyond(made["d"])) == ["d", "b", "c", "a"]
    assert order(chain.beyond(made["c"])) == ["c", "a"]


def test_two_copies_of_one_repository(family, opening, tmp_path):
    family(a=[])
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    fresh = opening()
    with pytest.raises(RepositoryError, match="copies of one repository"):
        Chain([fresh.open(str(tmp_path / "a")), fresh.open(str(tmp_path / "copy"))])


def test_closing(opened, tmp_path):
    made = opened.make(str(tmp_path / "new"), [], None)
    made.registry.apply([Changes([dataset(one(1))])])
    opened.close()
    assert not [name for name in os.listdir(made.root) if name.endswith(("-wal", "-shm"))]
    assert isinstance(made.registry, SqliteRegistry)
