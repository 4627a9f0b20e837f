"""Formats by storage name: one lazy table, and whatever is installed under the entry points ``bunter.formats``.

Nothing here imports numpy or astropy; a format's module is imported when the format is first asked for.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING

from ..errors import FormatError, FormatUnavailableError
from ..words import did_you_mean, listing
from .interface import About, Format, Layout, Range, Source

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["About", "Format", "Layout", "Range", "Source", "find", "for_python", "is_known", "names"]

_GROUP = "bunter.formats"

_TABLE = {
    "Csv": ".csv_:Csv",
    "Ecsv": ".ecsv:Ecsv",
    "Fits": ".fits_foreign:Fits",
    "FitsExposure": ".fits_exposure:FitsExposure",
    "FitsImage": ".fits_image:FitsImage",
    "FitsPart": ".fits_part:FitsPart",
    "FitsTable": ".fits_table:FitsTable",
    "FitsWcs": ".fits_wcs:FitsWcs",
    "Json": ".json_:Json",
    "Npy": ".npy:Npy",
    "Parquet": ".parquet:Parquet",
    "Pickle": ".pickle_:Pickle",
    "PsfEx": ".psfex:PsfEx",
    "Yaml": ".yaml_:Yaml",
}

# By the last word of a class of Bunter's own, wherever in the package it is defined.
_OWN_TYPES = {
    "Background": "FitsPart",
    "Exposure": "FitsExposure",
    "Mask": "FitsPart",
    "Metadata": "FitsPart",
    "PhotoCalib": "FitsPart",
    "Psf": "FitsPart",
    "GaussianPsf": "FitsPart",
    "ImagePsf": "FitsPart",
    "PsfExPsf": "FitsPart",
    "SourceCatalog": "FitsTable",
    "VisitInfo": "FitsPart",
}

_OTHER_TYPES = {
    "astropy.io.fits.Header": "FitsPart",
    "astropy.io.fits.header.Header": "FitsPart",
    "astropy.table.QTable": "FitsTable",
    "astropy.table.Table": "FitsTable",
    "astropy.table.table.QTable": "FitsTable",
    "astropy.table.table.Table": "FitsTable",
    "astropy.wcs.WCS": "FitsWcs",
    "astropy.wcs.wcs.WCS": "FitsWcs",
    "numpy.ndarray": "FitsImage",
    "pandas.DataFrame": "Parquet",
    "pandas.core.frame.DataFrame": "Parquet",
    "pyarrow.Table": "Parquet",
    "pyarrow.lib.Table": "Parquet",
    **{
        f"{prefix}{word}": "Json"
        for prefix in ("", "builtins.")
        for word in ("dict", "list", "str", "int", "float", "bool")
    },
}

_found: dict[str, Format] = {}
_plugins: dict[str, EntryPoint] | None = None


def find(name: str) -> Format:
    """Return the format of a storage name; the same instance each time.

    Raises
    ------
    FormatError
        If there is no such format; names the nearest.
    FormatUnavailableError
        If it needs a library that is not installed.
    """
    found = _found.get(name)
    if found is None:
        found = _found[name] = _load(name)
    return found


def names() -> tuple[str, ...]:
    """Return all storage names, those of plugins too, sorted; nothing is imported for it."""
    return tuple(sorted({*_TABLE, *_entry_points()}))


def is_known(name: str) -> bool:
    """Tell whether there is a format of that storage name; cheaper than looking among `names`."""
    return name in _TABLE or name in _entry_points()


def for_python(name: str) -> str | None:
    """Return the storage name that suits a Python type, given by its dotted name, or None.

    Gen2's storage names are resolved so. Nothing is imported.

    Examples
    --------
    >>> for_python("bunter.Exposure"), for_python("dict"), for_python("mypackage.Thing")
    ('FitsExposure', 'Json', None)
    """
    if name.startswith("bunter."):
        return _OWN_TYPES.get(name.rpartition(".")[2])
    return _OTHER_TYPES.get(name)


def _load(name: str) -> Format:
    if name in _TABLE:
        module, _, attribute = _TABLE[name].partition(":")
        try:
            cls = getattr(importlib.import_module(module, __name__), attribute)
        except ImportError as error:
            if (error.name or "").startswith("bunter"):
                raise
            raise _unavailable(name, error) from error
    elif name in _entry_points():
        cls = _load_plugin(name, _entry_points()[name])
    else:
        known = names()
        raise FormatError(f"there is no format {name!r}{did_you_mean(name, known)}; there are: {listing(known, 30)}")
    made: Format = cls()
    return made


def _unavailable(name: str, error: ImportError) -> FormatUnavailableError:
    missing = (error.name or "").split(".")[0] or str(error)
    return FormatUnavailableError(
        f"the format {name!r} needs {missing!r}, which is not installed here ({error}); "
        "install it, or install bunter anew with its dependencies (pip install bunter)"
    )


def _load_plugin(name: str, point: EntryPoint) -> type[Format]:
    try:
        cls = point.load()
    except Exception as error:
        # Whatever a plugin does wrong is its own: it is named, and all the other formats go on.
        warnings.warn(f"the plugin {point.value!r} for the format {name!r} is broken: {error!r}", RuntimeWarning, 4)
        if isinstance(error, ImportError):
            raise _unavailable(name, error) from error
        raise FormatError(
            f"the format {name!r} cannot be used: the plugin {point.value!r} failed: {error!r}"
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, Format)):
        problem = f"{point.value!r} is not a class derived from bunter.formats.Format"
        warnings.warn(f"the plugin for the format {name!r} is broken: {problem}", RuntimeWarning, 4)
        raise FormatError(f"the format {name!r} cannot be used: {problem}")
    return cls


def _entry_points() -> dict[str, EntryPoint]:
    # Reading the metadata of all installed packages takes milliseconds: only for names that are not in the table.
    global _plugins
    if _plugins is None:
        from importlib.metadata import entry_points

        _plugins = {}
        for point in entry_points(group=_GROUP):
            if point.name in _TABLE:
                warnings.warn(
                    f"the plugin {point.value!r} calls itself {point.name!r} as a format of Bunter's own does; "
                    "it is left out",
                    RuntimeWarning,
                    stacklevel=3,
                )
                continue
            _plugins[point.name] = point
    return _plugins
