"""Which dotted names may be imported, and which folders outside a repository may be read.

Opening someone else's repository runs none of its code: a ``python:`` or ``assembler:`` string is imported
only when it is needed, and only if it is Bunter's own, one of the types that the shipped formats handle, from
an installed plugin, or from a package that the user trusts.
"""

from __future__ import annotations

import builtins
import hashlib
import hmac
import importlib
import os
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .definitions import Definitions
from .definitions.gen2 import bunter_name
from .definitions.model import CompositeType, DatasetType, PartOfType
from .errors import DefinitionError, TrustError
from .words import did_you_mean

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
    except (OSError, RuntimeError):
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
        """Tell whether a dotted name may be imported."""
        if name in SHIPPED_TYPES or name.startswith("bunter.") or name in self.names:
            return True
        package, _, rest = name.partition(".")
        if not rest:
            return package in _BUILTINS
        if package == "builtins":
            return rest in _BUILTINS
        if self._covers(self.packages, name):
            return True
        if self._configured is None:
            self._configured = frozenset(configured_trust()) | _plugin_packages()
        return self._covers(self._configured, name)

    @staticmethod
    def _covers(packages: frozenset[str], name: str) -> bool:
        return any(name == package or name.startswith(package + ".") for package in packages)

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
        if found is not None:
            return found
        own = bunter_name(name)
        if own != name and not (self._covers(self.packages, name) and _installed(name)):
            name = own
        if not self.trusts(name):
            package = name.split(".")[0]
            raise TrustError(
                f"{name!r} was not imported: the repository asks for it, but you did not say that you trust it. "
                f"If you do, open the repository with Butler(..., trust=[{package!r}])"
            )
        found = self._found[name] = _import(name)
        return found


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


def _import(name: str) -> Any:
    if name in _BUILTINS:
        return getattr(builtins, name)
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
        for attribute in attributes:
            if not hasattr(found, attribute):
                raise DefinitionError(
                    f"{name!r} cannot be imported: {module_name!r} has no {attribute!r}"
                    f"{did_you_mean(attribute, dir(found))}"
                )
            found = getattr(found, attribute)
        return found
    raise DefinitionError(f"{name!r} cannot be imported: there is no module {name.split('.')[0]!r} here")


def _user_key() -> bytes | None:
    """Return this user's secret key, made at first need; None where no configuration can be kept."""
    path = configuration_folder() / "key"
    try:
        key = path.read_bytes()
        if len(key) == 32:
            return key
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileNotFoundError:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            return path.read_bytes()
        except OSError:
            return None
    except (OSError, RuntimeError):
        return None
    with os.fdopen(fd, "wb") as file:
        key = secrets.token_bytes(32)
        file.write(key)
    return key


def sign_folders(repository_id: str, folders: Iterable[str]) -> str:
    """Sign the folders that a repository lists, so that it is known later that this user listed them."""
    key = _user_key()
    if key is None:
        return ""
    text = "\0".join([repository_id, *sorted(folders)])
    return hmac.new(key, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def folders_are_mine(repository_id: str, folders: Iterable[str], signature: str) -> bool:
    """Tell whether `signature` is this user's own over the folders."""
    return bool(signature) and hmac.compare_digest(sign_folders(repository_id, folders), signature)
