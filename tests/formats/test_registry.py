"""Finding formats by name, and plugins that are broken."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from bunter import formats
from bunter.errors import BunterError, FormatError, FormatUnavailableError
from bunter.formats import find, for_python, names
from bunter.formats.interface import Format

STORAGE_NAMES = [
    "FitsExposure",
    "FitsPart",
    "FitsImage",
    "FitsTable",
    "FitsWcs",
    "Fits",
    "PsfEx",
    "Parquet",
    "Ecsv",
    "Csv",
    "Json",
    "Yaml",
    "Npy",
    "Pickle",
]


def loaded_after(code: str, *modules: str) -> set[str]:
    """Return which of the modules a fresh interpreter has loaded after running some code."""
    script = f"{code}\nimport sys\nprint(*[m for m in {modules!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


class Plugin(Format):
    name = "Mine"


@pytest.fixture
def plugins(monkeypatch):
    """Put entry points in the place of those that are installed."""

    def install(**points: str) -> None:
        found = [EntryPoint(name, value, "bunter.formats") for name, value in points.items()]
        monkeypatch.setattr("importlib.metadata.entry_points", lambda group: found)
        monkeypatch.setattr(formats, "_plugins", None)
        monkeypatch.setattr(formats, "_found", {})
        # Entry points name importable modules; this one is found under its own name only while it is tested.
        monkeypatch.setitem(sys.modules, "bunter_test_plugin", sys.modules[__name__])

    return install


@pytest.mark.parametrize("name", STORAGE_NAMES)
def test_every_storage_name_is_found(name):
    format_ = find(name)
    assert format_.name == name
    assert find(name) is format_


def test_names_are_the_storage_names():
    assert set(STORAGE_NAMES) <= set(names())


def test_names_are_known_without_a_look_at_the_plugins():
    assert formats.is_known("Parquet")
    assert not formats.is_known("Parket")
    code = "from bunter.formats import is_known; is_known('Parquet')"
    assert loaded_after(code, "importlib.metadata") == set()


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(FormatError, match=r"'FitsExposure'.*there are:.*Parquet"):
        find("FitsExposur")


def test_nothing_heavy_is_imported_for_a_json():
    heavy = ("numpy", "astropy", "pyarrow", "pandas", "bunter.exposure.exposure")
    assert loaded_after("from bunter.formats import find; find('Json')", *heavy) == set()
    assert loaded_after("from bunter.formats import find; find('Yaml')", *heavy) == set()
    assert loaded_after("import bunter.formats.equality, bunter.formats.convert, bunter.testing", *heavy) == set()


def test_python_types_have_storage_names():
    assert for_python("bunter.Exposure") == "FitsExposure"
    assert for_python("bunter.exposure.catalog.SourceCatalog") == "FitsTable"
    assert for_python("astropy.table.Table") == "FitsTable"
    assert for_python("astropy.wcs.WCS") == "FitsWcs"
    assert for_python("bunter.PhotoCalib") == "FitsPart"
    assert for_python("numpy.ndarray") == "FitsImage"
    assert for_python("builtins.dict") == "Json"
    assert for_python("mypackage.Exposure") is None
    for name in ("bunter.Exposure", "pandas.DataFrame", "dict"):
        assert for_python(name) in STORAGE_NAMES


def test_a_plugin_is_found(plugins):
    plugins(Mine="bunter_test_plugin:Plugin")
    assert isinstance(find("Mine"), Plugin)
    assert "Mine" in names()


def test_a_broken_plugin_warns_and_stops_nothing(plugins):
    plugins(Mine="bunter_test_plugin:Plugin", Broken="bunter_test_plugin:nothing", NoFormat="builtins:dict")
    with pytest.warns(RuntimeWarning, match=r"Broken"), pytest.raises(FormatError, match=r"Broken"):
        find("Broken")
    with pytest.warns(RuntimeWarning, match=r"NoFormat"), pytest.raises(FormatError, match=r"not a class derived"):
        find("NoFormat")
    assert isinstance(find("Mine"), Plugin)
    assert find("Json").name == "Json"


def test_a_plugin_that_lacks_a_library_says_which(plugins):
    plugins(Absent="no_such_package.formats:Absent")
    with pytest.warns(RuntimeWarning, match=r"Absent"), pytest.raises(FormatUnavailableError, match=r"no_such_package"):
        find("Absent")


def test_a_plugin_cannot_take_the_place_of_a_shipped_format(plugins):
    plugins(Json="bunter_test_plugin:Plugin")
    with pytest.warns(RuntimeWarning, match=r"'Json'"):
        assert "Json" in names()
    assert not isinstance(find("Json"), Plugin)


def test_the_errors_are_of_the_tree():
    assert issubclass(FormatUnavailableError, BunterError)
    assert issubclass(FormatUnavailableError, ImportError)
