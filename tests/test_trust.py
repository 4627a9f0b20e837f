from __future__ import annotations

import importlib
import os
import stat
import subprocess
import sys

import pytest

import bunter
from bunter.definitions import load
from bunter.errors import DefinitionError, TrustError
from bunter.trust import (
    SHIPPED_TYPES,
    Importer,
    configuration_folder,
    configured_trust,
    folders_are_mine,
    sign_folders,
)


@pytest.fixture(autouse=True)
def configuration(tmp_path, monkeypatch):
    folder = tmp_path / "configuration"
    monkeypatch.setenv("BUNTER_CONFIG", str(folder))
    return folder


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that says when it is imported, and that imports what an attacker would like to reach."""
    folder = tmp_path / "library" / "stranger"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(
        "import os, subprocess\n"
        "import os.path as inner\n"
        "from os import system\n"
        "from subprocess import Popen\n"
        "from numpy import ndarray\n"
        "from functools import partial\n"
        "class Thing:\n"
        "    class Inner: pass\n"
        "    @classmethod\n"
        "    def make(cls): return cls()\n"
        "def function(): return 1\n"
        "ready = partial(function)\n"
        "Mapping = dict\n"
        "evaluate = eval\n"
    )
    (folder / "part.py").write_text("class Deep: pass\n")
    (folder / "broken.py").write_text("import nowhere_to_be_found\n")
    (folder / "faulty.py").write_text("1 / 0\n")
    (tmp_path / "library" / "stranger_too.py").write_text("class Thing: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path / "library"))
    yield "stranger"
    for name in [name for name in sys.modules if name.startswith("stranger")]:
        del sys.modules[name]


# What anybody may name


@pytest.mark.parametrize("name", sorted(SHIPPED_TYPES))
def test_shipped_types(name):
    found = Importer().find(name)
    assert isinstance(found, type)
    assert found.__name__ == name.rpartition(".")[2]


@pytest.mark.parametrize(
    "name",
    ["Exposure", "Mask", "PhotoCalib", "Psf", "GaussianPsf", "SourceCatalog", "VisitInfo", "Background", "Metadata"],
)
def test_types_of_our_own(name):
    assert Importer().find(f"bunter.{name}") is getattr(bunter, name)


def test_functions_of_our_own():
    from bunter.exposure import bbox

    assert Importer().find("bunter.exposure.bbox") is bbox
    assert Importer().find("bunter.Exposure.from_ccddata") == bunter.Exposure.from_ccddata


@pytest.mark.parametrize("name", ["dict", "list", "str", "builtins.dict", "builtins.float"])
def test_plain_types(name):
    assert Importer().find(name).__name__ == name.rpartition(".")[2]


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("lsst.afw.image.ExposureF", "Exposure"),
        ("lsst.afw.image.exposure.ExposureF", "Exposure"),
        ("lsst.afw.table.SourceCatalog", "SourceCatalog"),
        ("lsst.afw.image.PhotoCalib", "PhotoCalib"),
    ],
)
def test_names_of_the_stack_are_our_own_types(name, own):
    assert Importer().find(name) is getattr(bunter, own)
    # Trusting it does not help where it is not installed.
    assert Importer(["lsst"]).find(name) is getattr(bunter, own)


def test_other_names_of_the_stack_are_not_trusted():
    with pytest.raises(TrustError, match=r"trust=\['lsst'\]"):
        Importer().find("lsst.pipe.tasks.Thing")


# What nobody may name


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "subprocess.Popen",
        "eval",
        "exec",
        "open",
        "getattr",
        "builtins.eval",
        "builtins.__import__",
        "numpy.load",
        "numpy.ndarray.tofile",
        "astropy.table.Table.read",
        "pandas.read_pickle",
        "pickle.loads",
        "object",
        "type",
        "__main__.Thing",
    ],
)
def test_code_of_others(name):
    with pytest.raises(TrustError, match="not"):
        Importer().find(name)


@pytest.mark.parametrize(
    "name",
    [
        "bunter.trust.os.system",
        "bunter.files.local.os.remove",
        "bunter.trust.importlib.import_module",
        "bunter.trust._import",
        "bunter.repository._write_whole",
        "bunter.repository.Opened",
        "bunter.Butler",
        "bunter.butler.Butler",
        "bunter.trust.Importer",
        "bunter.exposure.exposure.np.save",
        "bunter.formats.pickle_.pickle.loads",
        "bunter.Exposure.__init__.__globals__",
        "bunter.Exposure.__subclasses__",
        "bunter.exposure.bbox.__globals__.get",
        "bunter.os",
    ],
)
def test_what_is_reached_through_our_own_modules(name):
    """A policy names types and functions for data, not whatever Bunter itself uses."""
    with pytest.raises((TrustError, DefinitionError)):
        Importer().find(name)


def test_nothing_is_imported_that_is_not_trusted(package):
    with pytest.raises(TrustError, match=r"trust=\['stranger'\]"):
        Importer().find("stranger.Thing")
    with pytest.raises(TrustError):
        Importer(["stranger_too", "strang", "stranger.part"]).find("stranger.Thing")
    assert "stranger" not in sys.modules


# What the user trusts


def test_packages_that_the_user_trusts(package):
    importer = Importer([package])
    module = sys.modules.get(package)
    assert module is None
    thing = importer.find("stranger.Thing")
    assert importer.find("stranger.Thing") is thing
    assert importer.find("stranger.Thing.Inner") is thing.Inner
    assert isinstance(importer.find("stranger.Thing.make")(), thing)
    assert importer.find("stranger.function")() == 1
    assert importer.find("stranger.ready")() == 1
    assert importer.find("stranger.part.Deep").__name__ == "Deep"
    assert importer.find("stranger.ndarray").__name__ == "ndarray"
    assert importer.find("stranger.Mapping") is dict
    with pytest.raises(TrustError):
        importer.find("stranger_too.Thing")


def test_one_module_that_the_user_trusts(package):
    importer = Importer(["stranger.part"])
    assert importer.find("stranger.part.Deep").__name__ == "Deep"
    with pytest.raises(TrustError):
        importer.find("stranger.Thing")


@pytest.mark.parametrize(
    "name",
    [
        "stranger.os.system",
        "stranger.system",
        "stranger.inner.join",
        "stranger.Popen",
        "stranger.subprocess.Popen",
        "stranger.evaluate",
        "stranger.function.__globals__",
        "stranger.Thing.__class__",
    ],
)
def test_a_package_is_not_what_it_imports(package, name):
    with pytest.raises(TrustError, match=name.replace(".", r"\.")):
        Importer([package]).find(name)


def test_what_the_user_configured(package, configuration):
    assert configured_trust() == ()
    configuration.mkdir()
    (configuration / "trusted-packages").write_text("# mine\nstranger  # theirs\n\n  other\n")
    assert configured_trust() == ("stranger", "other")
    assert Importer().find("stranger.function")() == 1


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x00"])
def test_a_configuration_that_cannot_be_read_trusts_nobody(package, configuration, content):
    configuration.mkdir()
    (configuration / "trusted-packages").write_bytes(content)
    with pytest.raises(TrustError):
        Importer().find("stranger.Thing")


def test_where_the_configuration_is(monkeypatch, tmp_path):
    assert configuration_folder() == tmp_path / "configuration"
    monkeypatch.delenv("BUNTER_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert configuration_folder() == tmp_path / "xdg" / "bunter"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert configuration_folder() == tmp_path / "home" / ".config" / "bunter"


def test_installed_plugins_are_trusted(package, monkeypatch, tmp_path):
    info = tmp_path / "library" / "stranger-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[bunter.formats]\nStrange = stranger.part:Deep\n")
    importlib.invalidate_caches()
    assert Importer().find("stranger.Thing").__name__ == "Thing"


def test_what_the_user_handed_over_in_code(package):
    """The names in a policy that came as an argument, and no others."""
    given = load(
        {
            "datasets": {
                "thing": {"python": "stranger.Thing", "storage": "Json", "template": "thing.json"},
                "made": {
                    "python": "stranger.part.Deep",
                    "composite": {"thing": "thing"},
                    "assembler": "stranger.function",
                    "standardize": "stranger.ready",
                },
            }
        },
        trusted=True,
    )
    importer = Importer()
    importer.vouch(given)
    for name in ("stranger.Thing", "stranger.part.Deep", "stranger.function", "stranger.ready"):
        assert importer.find(name) is not None
    with pytest.raises(TrustError):
        importer.find("stranger.Thing.Inner")
    assert importer.trusts_definition("made")
    assert not importer.trusts_definition("other")


# Names that lead nowhere


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("stranger.Thign", "did you mean 'Thing'"),
        ("stranger.missing.Thing", "has no 'missing'"),
        ("stranger.Thing.Outer", "'Outer'"),
    ],
)
def test_names_that_are_not_there(package, name, words):
    with pytest.raises(DefinitionError, match=words):
        Importer([package]).find(name)


def test_packages_that_are_not_there():
    with pytest.raises(DefinitionError, match="no module 'not_installed'"):
        Importer(["not_installed"]).find("not_installed.Thing")


def test_a_package_whose_import_fails(package):
    """The author's own error says more than we could."""
    with pytest.raises(ModuleNotFoundError, match="nowhere_to_be_found"):
        Importer([package]).find("stranger.broken.Thing")
    with pytest.raises(ZeroDivisionError):
        Importer([package]).find("stranger.faulty.Thing")


# Folders


def test_a_signature_is_ones_own():
    signature = sign_folders("id", ["/a", "/b"])
    assert folders_are_mine("id", ["/b", "/a"], signature)
    for other in (("id2", ["/a", "/b"]), ("id", ["/a"]), ("id", ["/a", "/b", "/c"]), ("id", ["/a/b"])):
        assert not folders_are_mine(*other, signature)


@pytest.mark.parametrize("signature", ["", "0" * 64, "é", "\udcff", "x"])
def test_other_signatures(signature):
    assert not folders_are_mine("id", ["/a"], signature)


def test_another_user_has_another_key(monkeypatch, tmp_path):
    signature = sign_folders("id", ["/a"])
    monkeypatch.setenv("BUNTER_CONFIG", str(tmp_path / "another"))
    assert not folders_are_mine("id", ["/a"], signature)
    monkeypatch.setenv("BUNTER_CONFIG", str(tmp_path / "configuration"))
    assert folders_are_mine("id", ["/a"], signature)


def test_folders_whose_names_are_not_text():
    assert folders_are_mine("id", ["/a\udcff"], sign_folders("id", ["/a\udcff"]))


def test_the_key_is_private(configuration):
    sign_folders("id", [])
    assert [path.name for path in configuration.iterdir()] == ["key"]
    assert stat.S_IMODE(os.stat(configuration / "key").st_mode) == 0o600
    assert len((configuration / "key").read_bytes()) == 32


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_damaged_key_signs_nothing(configuration, content):
    """Least of all an empty one, which anybody knows."""
    configuration.mkdir()
    (configuration / "key").write_bytes(content)
    assert sign_folders("id", ["/a"]) == ""
    import hashlib
    import hmac

    forged = hmac.new(content, b"id\0/a", hashlib.sha256).hexdigest()
    assert not folders_are_mine("id", ["/a"], forged)
    assert not folders_are_mine("id", ["/a"], "")


def test_where_no_key_can_be_kept(configuration):
    configuration.write_text("a file where a folder is needed")
    assert sign_folders("id", ["/a"]) == ""
    assert not folders_are_mine("id", ["/a"], "")


def test_processes_agree_on_the_first_key(configuration, tmp_path):
    script = (
        "import os, sys, time\nfrom bunter.trust import sign_folders\n"
        "while not os.path.exists(sys.argv[1]):\n    time.sleep(0.001)\nprint(sign_folders('id', ['/a']))"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path / "go")]
    processes = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    (tmp_path / "go").touch()
    said = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert said == {sign_folders("id", ["/a"])}
    assert [path.name for path in configuration.iterdir()] == ["key"]
