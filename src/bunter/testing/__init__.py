"""The tests that every format, file store, registry and assembler has to pass, for people who write one.

Inherit the class in a test module, say what is to be tested, and let pytest collect it::

    class TestMine(FormatTests):
        def format(self):
            return Mine()

        def examples(self):
            return [(Thing(1), About(python=Thing)), (Thing(2), About(python=Thing))]
"""

from __future__ import annotations

from .assemblers import AssemblerTests
from .files import FilesTests
from .formats import FileSource, FormatTests, written
from .registry import RegistryTests

__all__ = ["AssemblerTests", "FileSource", "FilesTests", "FormatTests", "RegistryTests", "written"]
