"""Which dotted names may be imported, and which folders outside a repository may be read.

Opening someone else's repository runs none of its code: a ``python:`` or ``assembler:`` string is imported
only when it is needed, and only if it is Bunter's own, one of the types that the shipped formats handle, from
an installed plugin, or from a package that the user trusts.
"""

from __future__ import annotations

import builtins
import importlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from .definitions import Definitions
from .definitions.gen2 import bunter_name
from .definitions.model import CompositeType, DatasetType, PartOfType
from .errors import DefinitionError, TrustError
from .words import did_you_mean, listing

SHIPPED_TYPES = frozenset(
    {
        "astropy.io.fits.Header",
        "astropy.io.fits.header.Header",
        "astropy.nddata.CCDData",
        "astropy.table.QTable",
        "astropy.table.Table",
        "astropy.table.table.QTable",
        "astropy.table.table.Table",
        "astropy.time.Time",
        "astropy.units.Quantity",
        "astropy.wcs.WCS",
        "astropy.wcs.wcs.WCS",
        "numpy.ndarray",
        "pandas.DataFrame",
        "pandas.core.frame.DataFrame",
        "pyarrow.Table",
        "pyarrow.lib.Table",
    }
)
# Where Bunter's own types and functions for policies are; the rest of it writes files.
_OWN = frozenset({"bunter.exposure", "bunter.demo.assemble"})
_KEY_LENGTH = 32
_BUILTINS = frozenset({"bool", "bytes", "complex", "dict", "float", "int", "list", "str", "tuple"})


def configuration_folder() -> Path:
    """Return the folder of the user's configuration (``BUNTER_CONFIG``, else the XDG place)."""
    named = os.environ.get("BUNTER_CONFIG")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "bunter"


def configured_trust() -> tuple[str, ...]:
    """Return the packages that the user's configuration trusts: one a line in ``trusted-packages``."""
    try:
        text = (configuration_folder() / "trusted-packages").read_text("utf-8")
    except (OSError, RuntimeError, UnicodeDecodeError):
        return ()
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return tuple(line for line in lines if line)


def _plugin_packages() -> frozenset[str]:
    from importlib.metadata import entry_points

    return frozenset(point.module.split(".")[0] for point in entry_points(group="bunter.formats"))


class Importer:
    """Imports dotted names as far as the user trusts them.

    Parameters
    ----------
    packages : iterable of str
        Packages (or modules) that the user trusts.
    """

    def __init__(self, packages: Iterable[str] = ()) -> None:
        self.packages = frozenset(packages)
        self.names: set[str] = set()
        """Single names that the user handed over in code (a policy passed as an argument)."""
        self.definitions: set[str] = set()
        """Dataset types that the user handed over in code."""
        self._found: dict[str, Any] = {}
        self._configured: frozenset[str] | None = None

    def trusts(self, name: str) -> bool:
        """Tell whether a dotted name may be looked up; what it then turns out to be is looked at once more."""
        if name in SHIPPED_TYPES or name in self.names:
            return True
        package, _, rest = name.partition(".")
        if any(word.startswith("__") for word in rest.split(".")):
            return False
        if package == "builtins" or not rest:
            return (rest or package) in _BUILTINS
        return package == "bunter" or self._in_trusted_package(name)

    def _in_trusted_package(self, name: str) -> bool:
        if _covers(self.packages, name):
            return True
        if self._configured is None:
            self._configured = frozenset(configured_trust()) | _plugin_packages()
        return _covers(self._configured, name)

    def _trusts_home(self, home: str) -> bool:
        """Tell whether what was found is trusted where it is at home: a package's own imports are not the package."""
        return home in SHIPPED_TYPES or _covers(_OWN, home) or self._in_trusted_package(home)

    def vouch(self, definitions: Definitions) -> None:
        """Trust what definitions name that the user passed in code."""
        for name, definition in definitions.types.items():
            self.definitions.add(name)
            self.names |= _names_in(definition)

    def trusts_definition(self, name: str) -> bool:
        """Tell whether the user passed a dataset type in code."""
        return name in self.definitions

    def find(self, name: str) -> Any:
        """Import a dotted name.

        Parameters
        ----------
        name : str
            ``package.module.attribute``; names of ``lsst.afw`` give Bunter's own types unless LSST is
            installed and trusted.

        Raises
        ------
        TrustError
            If the name is not trusted.
        DefinitionError
            If it cannot be imported.
        """
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = self._looked_up(name)
        return found

    def _looked_up(self, name: str) -> Any:
        own = bunter_name(name)
        if own != name and not (_covers(self.packages, name) and _installed(name)):
            name = own
        if not self.trusts(name):
            raise _refused(name, name)
        found, homes = _import(name)
        if name not in SHIPPED_TYPES and name not in self.names:
            for home in homes:
                if not self._trusts_home(home):
                    raise _refused(name, home)
        return found


def _covers(packages: frozenset[str], name: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def _refused(name: str, home: str) -> TrustError:
    package = home.partition(".")[0]
    if name.startswith("bunter."):
        return TrustError(f"{name!r} is not for policies: of Bunter's own they may name what is in bunter.exposure")
    if package == "builtins" or "." not in name:
        known = listing(sorted(_BUILTINS))
        return TrustError(f"{name!r} is not for policies: of what is built in they may name {known}")
    what = name if home == name else f"{name} (which is {home})"
    return TrustError(
        f"{what} was not used: the repository asks for it, but you did not say that you trust it. "
        f"If you do, open the repository with Butler(..., trust=[{package!r}])"
    )


def _names_in(definition: DatasetType) -> set[str]:
    """Return the dotted names that a definition may have imported."""
    if isinstance(definition, PartOfType):
        return set()
    if isinstance(definition, CompositeType):
        found = [definition.python, definition.assembler, definition.disassembler, definition.standardize]
        found += [derived.function for derived in definition.derived.values()]
    else:
        found = [definition.python]
        for part in definition.parts.values():
            found += [part.python, part.convert if isinstance(part.convert, str) else None]
    return {name for name in found if name is not None}


def _installed(name: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(".".join(name.split(".")[:2])) is not None
    except (ImportError, ValueError):
        return False


def _import(name: str) -> tuple[Any, list[str]]:
    """Return what a dotted name stands for, and the full names of what it is and was reached through, at home."""
    if name in _BUILTINS:
        return getattr(builtins, name), []
    module_name, _, rest = name.rpartition(".")
    attributes = [rest]
    while module_name:
        module = sys.modules.get(module_name)
        if module is None:
            try:
                module = importlib.import_module(module_name)
            except ModuleNotFoundError as error:
                if error.name is not None and not (module_name + ".").startswith(error.name + "."):
                    raise
                module_name, _, last = module_name.rpartition(".")
                attributes.insert(0, last)
                continue
        found: Any = module
        homes = []
        for attribute in attributes:
            if not hasattr(found, attribute):
                raise DefinitionError(
                    f"{name!r} cannot be imported: {module_name!r} has no {attribute!r}"
                    f"{did_you_mean(attribute, dir(found))}"
                )
            found = getattr(found, attribute)
            homes += _homes(found)
        return found, homes
    raise DefinitionError(f"{name!r} cannot be imported: there is no module {name.split('.')[0]!r} here")


def _homes(found: Any) -> list[str]:
    """Return the full name of a module, class or function; other objects were made where they were found."""
    if isinstance(found, ModuleType):
        return [found.__name__]
    from inspect import isroutine

    if not isinstance(found, type) and not isroutine(found):
        return []
    module, own_name = getattr(found, "__module__", None), getattr(found, "__qualname__", "")
    if module in (None, "builtins"):
        # Classes of extension modules often do not say where they are at home; built-in ones are what they are.
        is_built_in = getattr(builtins, own_name, None) is found and own_name not in _BUILTINS
        return [f"builtins.{own_name}"] if is_built_in or isroutine(found) else []
    return [f"{module}.{own_name}"]


def _user_key() -> bytes | None:
    """Return this user's secret key, made at first need; None where no configuration can be kept."""
    try:
        path = configuration_folder() / "key"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _make_key(path)
        key = path.read_bytes()
    except (OSError, RuntimeError):
        return None
    return key if len(key) == _KEY_LENGTH else None


def _make_key(path: Path) -> None:
    # Made whole under another name, so that nobody signs with half a key; the first one stays.
    draft = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(os.urandom(_KEY_LENGTH))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    except OSError:
        # No hard links here: of two processes at once the second wins.
        os.replace(draft, path)
    draft.unlink(missing_ok=True)


def sign_folders(repository_id: str, folders: Iterable[str]) -> str:
    """Sign the folders that a repository lists, so that it is known later that this user listed them."""
    key = _user_key()
    if key is None:
        return ""
    text = "\0".join([repository_id, *sorted(folders)])
    import hmac

    return hmac.new(key, text.encode("utf-8", "surrogateescape"), "sha256").hexdigest()


def folders_are_mine(repository_id: str, folders: Iterable[str], signature: str) -> bool:
    """Tell whether `signature` is this user's own over the folders."""
    import hmac

    mine = sign_folders(repository_id, folders)
    return bool(mine) and hmac.compare_digest(mine.encode(), signature.encode("utf-8", "surrogatepass"))
