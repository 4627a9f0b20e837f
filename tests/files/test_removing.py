"""Files that go for good."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bunter import IntegrityError, RepositoryError
from bunter.files.drafts import is_draft, leftovers_in
from bunter.files.local import LocalFiles
from bunter.files.removing import Removal


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.json").write_text("{}")
    return LocalFiles(tmp_path)


def names(files: LocalFiles) -> list[str]:
    return sorted(os.listdir(os.path.join(files.root, "a")))


def test_until_it_is_gone_it_is_known_for_ours(files: LocalFiles) -> None:
    folder = os.path.join(files.root, "a")
    removal = Removal(files, "a/1.json")
    (left,) = leftovers_in(folder, os.listdir(folder))
    assert (left.published, removal.size) == (os.path.join(folder, "1.json"), 2)
    removal.remove()
    assert removal.removed
    assert [is_draft(name) for name in names(files)] == [True]
    removal.end()
    # The folder is empty now.
    assert not os.path.exists(folder)
    assert os.path.isdir(files.root)


def test_it_can_stay(files: LocalFiles) -> None:
    Removal(files, "a/1.json").keep()
    assert names(files) == ["1.json"]


def test_a_folder_with_others_stays(files: LocalFiles) -> None:
    Path(files.root, "a/mine").touch()
    removal = Removal(files, "a/1.json")
    removal.remove()
    removal.end()
    assert names(files) == ["mine"]


def test_what_took_the_name_since_is_not_ours(files: LocalFiles) -> None:
    gone = Removal(files, "a/2.json")
    swapped = Removal(files, "a/1.json")
    for name in ("1.json", "2.json"):
        new = Path(files.root, "new")
        new.write_text("[]")
        new.replace(Path(files.root, "a", name))
    for removal in (gone, swapped):
        removal.remove()
        removal.end()
        assert not removal.removed
    assert names(files) == ["1.json", "2.json"]


def test_files_with_other_names_free_nothing(files: LocalFiles) -> None:
    os.link(os.path.join(files.root, "a/1.json"), os.path.join(files.root, "a/other"))
    os.symlink("other", os.path.join(files.root, "a/link"))
    for name in ("a/1.json", "a/link"):
        assert Removal.size_of(files, name) == 0
        removal = Removal(files, name)
        removal.remove()
        removal.end()
        assert (removal.size, removal.removed) == (0, True)
    assert names(files) == ["other"]
    assert Removal.size_of(files, "a/never") is None


@pytest.mark.parametrize("path", ["../1.json", "/etc/1.json"])
def test_nothing_outside(files: LocalFiles, path: str) -> None:
    with pytest.raises(IntegrityError, match="outside"):
        Removal(files, path)


def test_where_a_file_has_only_one_name(files: LocalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*given: object, **named: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", link)
    removal = Removal(files, "a/1.json")
    assert names(files) == ["1.json"]
    removal.remove()
    removal.end()
    assert removal.removed
    assert not os.path.exists(os.path.join(files.root, "a"))


def test_a_folder_that_cannot_be_written(files: LocalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*given: object, **named: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(RepositoryError, match=r"1\.json cannot be removed: Read-only"):
        Removal(files, "a/1.json")
    assert names(files) == ["1.json"]
