"""The room is entered without loading what is heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

import bunter.exposure


def test_import_loads_neither_numpy_nor_astropy() -> None:
    code = (
        "import sys, bunter.exposure; dir(bunter.exposure);"
        "print([m for m in ('numpy', 'astropy', 'scipy') if m in sys.modules]);"
        "bunter.exposure.PhotoCalib, bunter.exposure.Background, bunter.exposure.PsfExPsf, bunter.exposure.VisitInfo;"
        "print([m for m in ('astropy', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


def test_every_name_is_there() -> None:
    for name in bunter.exposure.__all__:
        assert getattr(bunter.exposure, name).__name__ == name
        assert name in dir(bunter.exposure)
    with pytest.raises(AttributeError, match="no attribute 'Exposures'"):
        bunter.exposure.Exposures  # noqa: B018
    namespace: dict[str, object] = {}
    exec("from bunter.exposure import *", namespace)
    assert set(bunter.exposure.__all__) <= set(namespace)
