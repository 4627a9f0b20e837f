"""Write one object to one file: a repository of one dataset, whose file is then taken."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

_BY_SUFFIX = {
    ".parquet": "Parquet",
    ".ecsv": "Ecsv",
    ".csv": "Csv",
    ".json": "Json",
    ".yaml": "Yaml",
    ".yml": "Yaml",
    ".npy": "Npy",
}
_FITS_BY_TYPE = {
    "Exposure": "FitsExposure",
    "ndarray": "FitsImage",
    "WCS": "FitsWcs",
    "Table": "FitsTable",
    "QTable": "FitsTable",
    "SourceCatalog": "FitsTable",
}


def export(obj: Any, path: Path) -> None:
    """Write `obj` to `path` in the format of its suffix.

    Raises
    ------
    click.UsageError
        If no format goes with the suffix.
    FormatError
        If the format cannot hold the object.
    """
    from .. import Butler, RepositoryArgs

    kinds = [base.__name__ for base in type(obj).__mro__]
    suffix = path.suffix.lower()
    if suffix in (".fits", ".fit"):
        storage = next((_FITS_BY_TYPE[kind] for kind in kinds if kind in _FITS_BY_TYPE), "FitsPart")
    elif suffix in _BY_SUFFIX:
        storage = _BY_SUFFIX[suffix]
    else:
        known = ", ".join([".fits", *_BY_SUFFIX])
        raise click.UsageError(f"{path}: no format goes with the suffix {suffix!r}; there are {known}")
    python = f"{type(obj).__module__}.{type(obj).__qualname__}"
    template = f"export/dataset{suffix}"
    with TemporaryDirectory(prefix=".bunter-", dir=path.absolute().parent) as folder:
        policy = {"datasets": {"export": {"python": python, "storage": storage, "template": template}}}
        with Butler(outputs=RepositoryArgs(folder, policy=policy), trust=[python.partition(".")[0]]) as butler:
            butler.put(obj, "export")
        os.replace(Path(folder) / template, path)
