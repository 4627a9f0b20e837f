"""Path templates, forwards (data ID to path) and backwards (path to data ID).

Two spellings mean the same: ``%(visit)07d`` and ``{visit:07d}``; ``%%`` and ``{{`` are the characters themselves;
``{_}`` matches and forgets, so a template that holds it can only be used at ingest.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import pairwise

from .dataid import KeyValue, check_text, check_value
from .errors import DataIdError, DefinitionError
from .matching import Field, Folder, Glance, Kind, Token, Unsure, glance
from .values import dataclass, field
from .words import listing, shown

_LONGEST_TEMPLATE = 1000
_LONGEST_NAME = 255
_MOST_STEPS = 20_000
_PUNCTUATION = "._,+=@-"
_FIELD = re.compile(
    r"%\((?P<old>[^()]*)\)(?P<oldspec>[^A-Za-z%/{]*[A-Za-z]?)"
    r"|\{\{|\}\}|%%"
    r"|\{(?P<new>[^{}:]*)(?::(?P<newspec>[^{}]*))?\}"
)
_SPEC = re.compile(r"(?:(?P<int>(?:0(?P<width>[1-9][0-9]?))?[diu])|(?P<float>(?:[0-9]{0,2}\.[0-9]{1,2})?[feg])|s)?\Z")
_INT = re.compile(r"(?P<sign>-|%2D)?(?P<digits>[0-9]{1,25})")
_FLOAT = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?\Z")
_ESCAPE = re.compile(r"(?:%[0-9A-F]{2})+")
_COMPRESSIONS = frozenset((".gz", ".bz2", ".fz", ".xz", ".zst", ".z", ".lz4", ".zip"))
_SUFFIX = re.compile(r"(?<=[^.])\.[A-Za-z][A-Za-z0-9]{0,9}\Z")


@dataclass(frozen=True, slots=True)
class Template:
    """A path template.

    Parameters
    ----------
    text : str
        The template, relative to the root of a repository.

    Attributes
    ----------
    fields : tuple of str
        The keys that the template holds, in order of appearance, each once, without ``_``.
    kinds : dict
        Key -> ``"int"``, ``"str"``, ``"float"``, or None if the template does not say (``{visit}``).
    ingest_only : bool
        Whether it holds ``{_}``, so that no path can be made from a data ID.

    Raises
    ------
    DefinitionError
        If it cannot be read, is absolute, leaves its root, or holds two neighbouring fields that cannot be told apart.

    Examples
    --------
    >>> t = Template("sfm/%(visit)d/calexp-{visit:07d}-{ccd}.fits")
    >>> t.fields
    ('visit', 'ccd')
    >>> t.format({"visit": 12, "ccd": "N 3"})
    'sfm/12/calexp-0000012-N%203.fits'
    >>> t.match("/data/sfm/12/calexp-0000012-N%203.fits")
    {'visit': 12, 'ccd': 'N 3'}
    """

    text: str
    fields: tuple[str, ...] = field(init=False, repr=False, compare=False)
    kinds: dict[str, Kind | None] = field(init=False, repr=False, compare=False)
    ingest_only: bool = field(init=False, repr=False, compare=False)
    _folders: tuple[Folder, ...] = field(init=False, repr=False, compare=False)
    _unsaid: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _glances: dict[tuple[str, ...], Glance | None] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        folders = _parsed(self.text)
        kinds: dict[str, Kind | None] = {}
        ingest_only = False
        for token in (token for folder in folders for token in folder):
            if isinstance(token, str):
                continue
            if token.key == "_":
                ingest_only = True
            elif token.kind is not None and kinds.get(token.key) not in (None, token.kind):
                raise DefinitionError(
                    f"the template {self.text!r} holds {token.key!r} both as {kinds[token.key]} and as {token.kind}"
                )
            else:
                kinds[token.key] = kinds.get(token.key) or token.kind
        object.__setattr__(self, "_folders", folders)
        object.__setattr__(self, "fields", tuple(kinds))
        object.__setattr__(self, "kinds", kinds)
        object.__setattr__(self, "ingest_only", ingest_only)
        unsaid = tuple(key for key, kind in kinds.items() if kind is None)
        object.__setattr__(self, "_unsaid", (*unsaid, "_") if ingest_only else unsaid)
        object.__setattr__(self, "_glances", {})

    def __reduce__(self) -> tuple[type[Template], tuple[str]]:
        return Template, (self.text,)

    def __str__(self) -> str:
        return self.text

    def same_paths(self, other: Template) -> bool:
        """Tell whether both give the same paths, whichever spelling they use."""
        return self._folders == other._folders

    def format(self, data_id: Mapping[str, object]) -> str:
        """Return the path of a data ID, relative, with ``/`` between folders.

        String values are encoded reversibly: letters, digits and ``._,+=@-`` stay themselves, all else is
        percent-encoded UTF-8. Where a path would read backwards in two ways, more is encoded. Keys that the template
        does not hold are ignored.

        Raises
        ------
        DataIdError
            If a key is lacking or its value does not fit, if a file name would have more than 255 bytes, or if
            no encoding keeps the values apart.
        """
        if self.ingest_only:
            raise DataIdError(f"the template {self.text!r} holds '{{_}}': it matches paths at ingest and makes none")
        missing = [key for key in self.fields if key not in data_id]
        if missing:
            raise DataIdError(
                f"the template {self.text!r} needs {listing(missing)}; the data ID has {listing(data_id)}"
            )
        values: dict[str, KeyValue] = {}
        kinds: dict[str, Kind] = {}
        for key in self.fields:
            kinds[key] = self.kinds[key] or _kind_of(data_id[key])
            values[key] = check_value(key, data_id[key], kinds[key])
        for level in range(3):
            path = "/".join(_write(folder, values, level, first=i == 0) for i, folder in enumerate(self._folders))
            # A name that is too long is too long at any level, and encoding more makes it longer.
            for name in path.split("/"):
                if len(name.encode()) > _LONGEST_NAME:
                    raise DataIdError(f"the file name {name[:60]!r}... would have more than {_LONGEST_NAME} bytes")
            found = self._readings(path, kinds)
            if len(found) == 1 and found[0] == values:
                return path
        raise DataIdError(
            f"the template {self.text!r} cannot keep {values} apart from other data IDs; "
            "put a separator between neighbouring fields"
        )

    def match(self, path: str, kinds: Mapping[str, str] | None = None) -> dict[str, KeyValue] | None:
        """Read the values back from the last whole folders of a path.

        Parameters
        ----------
        path : str
            Any path with ``/`` between folders; only as many of the last ones as the template has are looked at.
        kinds : mapping, optional
            Types of the keys for which the template does not say; ``"str"`` if not given.

        Returns
        -------
        dict or None
            None if the path does not match.

        Raises
        ------
        DataIdError
            If the path can be read in two different ways.
        """
        found = self._readings(path, kinds or {})
        if len(found) > 1:
            raise DataIdError(
                f"the path {path!r:.300} can be read by the template {self.text!r} as {found[0]} and as {found[1]}; "
                "give the data ID, or make the template say more"
            )
        return found[0] if found else None

    def matcher(self, kinds: Mapping[str, str]) -> Callable[[str], dict[str, KeyValue] | None]:
        """Return what does the same as `match` for many paths with the same kinds."""
        look = self._glance(kinds)
        usual = None if look is None else look.usual

        def match(path: str) -> dict[str, KeyValue] | None:
            values = None if usual is None or "%" in path else usual.reading(path)
            return self.match(path, kinds) if values is None else values

        return match

    def _readings(self, path: str, kinds: Mapping[str, str]) -> list[dict[str, KeyValue]]:
        """Return no reading, the only one, or two of several."""
        if "%" not in path:
            look = self._glance(kinds)
            seen = None if look is None else look.readings(path)
            if seen is not None and not isinstance(seen, Unsure):
                return seen
        return self._searched(path, kinds)

    def _glance(self, kinds: Mapping[str, str]) -> Glance | None:
        """Return what reads paths without a search, None if this template needs one."""
        given = tuple([kinds.get(key) or "str" for key in self._unsaid])
        try:
            return self._glances[given]
        except KeyError:
            known: dict[str, str] = {key: kind or "str" for key, kind in self.kinds.items()}
            known.update(zip(self._unsaid, given, strict=True))
            found = self._glances[given] = glance(self._folders, known)
            return found

    def _searched(self, path: str, kinds: Mapping[str, str]) -> list[dict[str, KeyValue]]:
        names = path.split("/")
        if len(names) < len(self._folders):
            return []
        search = _Search(self, names[len(names) - len(self._folders) :], kinds)
        # What Bunter wrote is decoded; another's path with a '%' in it that does not decode is taken literally.
        if "%" in path:
            found = search.run(literal=False)
            if found:
                return found
        return search.run(literal=True)


def mark(path: str, n: int) -> str:
    """Return the path with the mark ``~n`` before its whole suffix.

    Raises
    ------
    DataIdError
        If the file name would have more than 255 bytes.

    Examples
    --------
    >>> mark("a/b.fits.fz", 2)
    'a/b~2.fits.fz'
    >>> mark("a.b/c4d_v1.2", 3)
    'a.b/c4d_v1.2~3'
    """
    folder, slash, name = path.rpartition("/")
    stem, suffix = _split_suffix(name)
    if suffix.lower() in _COMPRESSIONS:
        stem, more = _split_suffix(stem)
        suffix = more + suffix
    marked = f"{stem}~{n}{suffix}"
    if len(marked.encode()) > _LONGEST_NAME:
        raise DataIdError(f"the file name {marked[:60]!r}... would have more than {_LONGEST_NAME} bytes")
    return f"{folder}{slash}{marked}"


def encode_value(text: str) -> str:
    """Return a string value as it stands in paths.

    Examples
    --------
    >>> encode_value("R 1/2~3")
    'R%201%2F2%7E3'
    """
    return "".join(c if _is_plain(c) else _escape(c) for c in text)


def decode_value(text: str) -> str | None:
    """Return the value that `encode_value` (or more encoding than it does) makes `text` of, or None.

    Examples
    --------
    >>> decode_value("R%201%2F2"), decode_value("100%")
    ('R 1/2', None)
    """
    if "%" not in text:
        return text if (text.isascii() and text.isalnum()) or all(map(_is_plain, text)) else None
    pieces: list[str] = []
    position = 0
    for found in _ESCAPE.finditer(text):
        pieces.append(text[position : found.start()])
        try:
            escaped = bytes.fromhex(found.group().replace("%", "")).decode()
        except UnicodeDecodeError:
            return None
        pieces.append(escaped)
        position = found.end()
        if not all(map(_is_plain, pieces[-2])):
            return None
    if not all(map(_is_plain, text[position:])):
        return None
    value = "".join(pieces) + text[position:]
    return value if unicodedata.is_normalized("NFC", value) else None


def _is_plain(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in _PUNCTUATION
    return character.isalpha()


def _escape(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


def _kind_of(value: object) -> Kind:
    if isinstance(value, str):
        return "str"
    if hasattr(value, "__index__"):
        return "int"
    return "float" if hasattr(value, "__float__") else "str"


def _split_suffix(name: str) -> tuple[str, str]:
    found = _SUFFIX.search(name)
    return (name[: found.start()], found.group()) if found else (name, "")


def _write(folder: Folder, values: Mapping[str, KeyValue], level: int, *, first: bool) -> str:
    """Return one folder or file name; `level` 1 encodes punctuation in values too, 2 every character."""
    text = "".join(t if isinstance(t, str) else _write_value(t, values[t.key], level) for t in folder)
    if level == 0 and (
        text in (".", "..")
        # A value must not name a hidden folder at the root, where repositories keep their own things.
        or (first and text.startswith(".") and not isinstance(folder[0], str))
    ):
        return _write(folder, values, 1, first=first)
    return text


def _write_value(token: Field, value: KeyValue, level: int) -> str:
    if isinstance(value, int):
        text = f"{value:0{token.width}d}" if token.width else str(value)
        return text if level == 0 else text.replace("-", "%2D")
    if isinstance(value, float):
        short = format(value, token.spec) if token.spec else repr(value)
        # Two values that round to the same digits must not share a file.
        return short if len(short) <= 40 and float(short) == value else repr(value)
    if level == 2:
        return "".join(map(_escape, value))
    text = encode_value(value)
    return "".join(_escape(c) if c in _PUNCTUATION else c for c in text) if level == 1 else text


class _Search:
    """The readings of one path: a walk over fields that only takes steps from which the end can be reached."""

    def __init__(self, template: Template, names: list[str], kinds: Mapping[str, str]) -> None:
        self.template = template
        self.names = names
        self.kinds = kinds
        self.reachable: list[list[frozenset[int]]] = []
        self.hopeless = any(len(name) > 4 * _LONGEST_NAME for name in names)
        for folder, name in zip(template._folders, names, strict=True):
            if self.hopeless:
                return
            table = self._table(folder, name)
            self.reachable.append(table)
            self.hopeless = 0 not in table[0]

    def run(self, *, literal: bool) -> list[dict[str, KeyValue]]:
        if self.hopeless:
            return []
        self.literal = literal
        self.steps = 0
        self.seen: set[tuple[object, ...]] = set()
        found: list[dict[str, KeyValue]] = []
        for reading in self._walk(0, 0, 0, {}):
            if reading not in found:
                found.append(reading)
                if len(found) == 2:
                    break
        return [{key: reading[key] for key in self.template.fields} for reading in found]

    def _kind(self, token: Field) -> str:
        # What one field says of its key holds for the others, too.
        return token.kind or self.template.kinds.get(token.key) or self.kinds.get(token.key) or "str"

    def _table(self, folder: Folder, name: str) -> list[frozenset[int]]:
        """For each token, the positions from which it and all that follow can match, values aside."""
        table = [frozenset((len(name),))]
        for token in reversed(folder):
            after = table[0]
            if isinstance(token, str):
                ok = frozenset(p - len(token) for p in after if name.endswith(token, 0, p))
            elif self._kind(token) == "str":
                ok = frozenset(range(max(after, default=0)))
            else:
                ok = frozenset(
                    p
                    for p in range(max(after, default=0))
                    if name[p] in "0123456789-%" and any(True for _ in self._ends(token, name, p, after))
                )
            table.insert(0, ok)
        return table

    def _ends(self, token: Field, name: str, start: int, after: frozenset[int]) -> Iterator[int]:
        kind = self._kind(token)
        if kind == "int":
            found = _INT.match(name, start)
            if found is None:
                return
            first = found.start("digits")
            sign = 1 if found.group("sign") else 0
            for end in range(first + 1, found.end() + 1):
                digits = end - first
                if end not in after or digits + sign < token.width:
                    continue
                if token.width and digits + sign > token.width and name[first] == "0":
                    continue
                if -(2**63) <= int(name[first:end]) * (1 - 2 * sign) < 2**63 and not (
                    sign and int(name[first:end]) == 0
                ):
                    yield end
            return
        for end in sorted(after):
            if end > start and (kind == "str" or _FLOAT.match(name[start:end])):
                yield end

    def _walk(self, i: int, j: int, start: int, values: dict[str, KeyValue]) -> Iterator[dict[str, KeyValue]]:
        if i == len(self.names):
            yield values
            return
        name, folder, reachable = self.names[i], self.template._folders[i], self.reachable[i]
        while j < len(folder) and isinstance(folder[j], str):
            start += len(folder[j])  # type: ignore[arg-type]
            j += 1
        if j == len(folder):
            yield from self._walk(i + 1, 0, 0, values)
            return
        state = (i, j, start, *values.items())
        if state in self.seen:
            return
        self.seen.add(state)
        token = folder[j]
        assert isinstance(token, Field)
        for end in self._ends(token, name, start, reachable[j + 1]):
            self.steps += 1
            if self.steps > _MOST_STEPS:
                raise DataIdError(
                    f"the path {'/'.join(self.names)!r:.300} can be read by the template "
                    f"{self.template.text!r} in too many ways; give the data ID"
                )
            text = name[start:end]
            value = self._value(token, text)
            if value is None:
                continue
            if token.key == "_":
                yield from self._walk(i, j + 1, end, values)
            elif token.key not in values:
                yield from self._walk(i, j + 1, end, {**values, token.key: value})
            elif values[token.key] == value:
                yield from self._walk(i, j + 1, end, values)

    def _value(self, token: Field, text: str) -> KeyValue | None:
        kind = self._kind(token)
        if kind == "int":
            return int(text.replace("%2D", "-"))
        if kind == "float":
            number = float(text)
            return number if number - number == 0.0 else None
        value = decode_value(text)
        if value is None:
            if not self.literal:
                return None
            value = text
        try:
            return check_text(token.key, value)
        except DataIdError:
            return None


def _parsed(text: str) -> tuple[Folder, ...]:
    if not isinstance(text, str) or not text:
        raise DefinitionError(f"a template is a relative path, not {shown(text)}")
    # A subclass may say that it is another string: its own characters count.
    return _parsed_text(str.__str__(text))


@lru_cache(maxsize=1024)
def _parsed_text(text: str) -> tuple[Folder, ...]:
    if len(text) > _LONGEST_TEMPLATE:
        raise DefinitionError(f"a template has at most {_LONGEST_TEMPLATE} characters; this one has {len(text)}")
    folders: list[list[Token]] = [[]]
    for token in _tokens(text):
        if isinstance(token, Field):
            folders[-1].append(token)
            continue
        if "~" in token or "\\" in token or not token.isprintable():
            raise DefinitionError(
                f"the template {text!r:.200} holds a character that paths cannot have here: "
                "'~' (Bunter's own mark), a backslash, or a control character"
            )
        first, *more = unicodedata.normalize("NFC", token).split("/")
        _append(folders[-1], first)
        for name in more:
            folders.append([])
            _append(folders[-1], name)
    if not folders[0]:
        raise DefinitionError(f"the template {text!r:.200} is absolute; write it relative to the repository's root")
    for folder in folders:
        if not folder:
            raise DefinitionError(f"the template {text!r:.200} holds an empty folder or file name")
        if folder in (["."], [".."]):
            raise DefinitionError(f"the template {text!r:.200} holds {folder[0]!r}; templates stay below the root")
        if sum(len(t.encode()) for t in folder if isinstance(t, str)) > _LONGEST_NAME:
            raise DefinitionError(f"the template {text[:80]!r}... holds a name of more than {_LONGEST_NAME} bytes")
    parsed = tuple(map(tuple, folders))
    _check_neighbours(text, parsed)
    return parsed


def _append(folder: list[Token], literal: str) -> None:
    if not literal:
        return
    if folder and isinstance(folder[-1], str):
        folder[-1] += literal
    else:
        folder.append(literal)


def _tokens(text: str) -> Iterator[Token]:
    position = 0
    for found in _FIELD.finditer(text):
        yield from _literal(text, text[position : found.start()])
        position = found.end()
        whole = found.group()
        if whole in ("{{", "}}", "%%"):
            yield whole[0]
        elif found.group("old") is not None:
            if not found.group("oldspec"):
                raise DefinitionError(f"the template {text!r:.200} lacks a letter (d, s, f) after {whole!r}")
            yield _field(text, whole, found.group("old"), found.group("oldspec"))
        else:
            yield _field(text, whole, found.group("new"), found.group("newspec") or "")
    yield from _literal(text, text[position:])


def _literal(text: str, literal: str) -> Iterator[str]:
    for character, doubled in (("%", "%%"), ("{", "{{"), ("}", "}}")):
        if character in literal:
            raise DefinitionError(
                f"the template {text!r:.200} holds a {character!r} that begins or ends no field; write {doubled!r} "
                "for the character, {visit:d} or %(visit)d for a field"
            )
    if literal:
        yield literal


def _field(text: str, whole: str, key: str, spec: str) -> Field:
    key = key.strip()
    if not key.isidentifier() or len(key) > 60:
        raise DefinitionError(f"the template {text!r:.200} holds {whole!r}: {key!r} cannot be a key")
    found = _SPEC.match(spec)
    if found is None:
        raise DefinitionError(
            f"the template {text!r:.200} holds {whole!r}: {spec!r} is not a format that reads back; "
            "use d, 07d, s, f or .3f"
        )
    if key == "_" and spec not in ("", "s"):
        raise DefinitionError(f"the template {text!r:.200} holds {whole!r}; '{{_}}' takes no format")
    if found["int"]:
        return Field(key, "int", int(found["width"] or 0))
    if found["float"]:
        return Field(key, "float", 0, spec)
    return Field(key, "str" if spec == "s" else None)


def _check_neighbours(text: str, folders: tuple[Folder, ...]) -> None:
    """Refuse neighbouring fields that nothing tells apart.

    A field that also stands alone somewhere is known, and so is its neighbour then. A string before an integer, and
    an integer of fixed width before anything, are common in archives (``r1``, ``20150407``): the few data IDs
    that they cannot tell apart are refused when they turn up.
    """
    known: set[str] = set()
    while True:
        found = {
            token.key
            for folder in folders
            for before, token, after in zip(("", *folder[:-1]), folder, (*folder[1:], ""), strict=True)
            if isinstance(token, Field)
            and token.key not in known | {"_"}
            and all(isinstance(t, str) or t.key in known for t in (before, after))
        }
        if not found:
            break
        known |= found
    for folder in folders:
        for a, b in pairwise(folder):
            if isinstance(a, str) or isinstance(b, str) or a.key in known or b.key in known:
                continue
            if (a.kind in (None, "str") and b.kind == "int") or (a.kind == "int" and a.width):
                continue
            raise DefinitionError(
                f"the template {text!r:.200} cannot tell {a.key!r} from {b.key!r}; put a separator between them"
            )
