"""From files, text and dicts to drafts: sections read, includes followed, inheritance expanded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..dataid import check_key
from ..errors import DataIdError, DatasetNameError, DefinitionError
from ..names import DatasetName
from ..values import dataclass, field
from ..words import did_you_mean, shown
from .model import Place
from .nodes import LARGEST, Faults, Node, Scalar, from_python, parse_yaml, read_regular, resolve

_SECTIONS = ("keys", "implied", "include", "datasets", "aliases")
_MOST_INCLUDES = 100
_MOST_TYPES = 5_000
_DEEPEST = 20
_INHERITING = re.compile(r"(?P<name>[^()]*)\((?P<parent>[^()]*)\)\s*\Z")
KINDS = ("int", "str", "float")


@dataclass(frozen=True, slots=True)
class Draft:
    """A dataset type as it was written: its options, those that it inherits included once `expand` was called."""

    name: str
    options: Mapping[str, tuple[Node, Node]]
    place: Place
    parent: str | None = None
    trusted: bool = False

    def same(self, other: Draft) -> bool:
        """Tell whether both say the same, wherever they were written."""
        return self.parent == other.parent and _plain(self.options) == _plain(other.options)


def _plain(options: Mapping[str, tuple[Node, Node]]) -> dict[str, Any]:
    return {name: value.plain() for name, (_, value) in options.items()}


@dataclass(slots=True)
class Policy:
    """All that the documents of one policy say."""

    keys: dict[str, tuple[str, Place]] = field(default_factory=dict)
    implied: dict[str, tuple[tuple[str, ...], Place]] = field(default_factory=dict)
    aliases: dict[str, tuple[str, Place]] = field(default_factory=dict)
    drafts: dict[str, Draft] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)


class PolicyReader:
    """Reads a policy and whatever it includes.

    Parameters
    ----------
    faults : Faults
        Takes whatever is wrong.
    trusted : bool
        Whether a user gave the policy in code: it may include files from anywhere.
    """

    def __init__(self, faults: Faults, *, trusted: bool) -> None:
        self.faults = faults
        self.trusted = trusted
        self.policy = Policy()
        self._root: Path | None = None
        self._open: list[Path] = []
        self._done: dict[Path, None] = {}
        self._size = 0

    def read(self, source: Mapping[str, Any] | str | Path, base_dir: str | Path | None) -> Policy:
        """Read a dict, a path or YAML text."""
        if isinstance(source, Mapping):
            node = from_python(source, self.faults)
            self._root = Path(base_dir) if base_dir is not None else Path()
            self._document(node, self._root)
            plain = node.plain() if not self.faults else {}
            plain.pop("include", None)
            if plain:
                self.policy.texts.append(dump(plain))
            return self.policy
        if isinstance(source, str) and _is_text(source):
            self._root = Path(base_dir) if base_dir is not None else Path()
            self._text(source, "policy", self._root)
            return self.policy
        if not isinstance(source, str | Path):
            raise DefinitionError(
                f"a policy is a dict, a path or YAML text, not {type(source).__name__}: {shown(source)}"
            )
        path = Path(source)
        self._root = Path(base_dir) if base_dir is not None else path.parent
        self._file(path, Place(shown(str(path), 300).strip("'\"")))
        return self.policy

    def _file(self, path: Path, place: Place) -> None:
        real = self._real(path, place)
        if real is None:
            return
        if real in self._open:
            names = " -> ".join(p.name for p in (*self._open[self._open.index(real) :], real))
            self.faults.add(place, f"these files include each other: {names}")
            return
        if real in self._done:
            return
        try:
            data = read_regular(path, LARGEST)
        except OSError as error:
            near = did_you_mean(path.name, _files(path.parent))
            self.faults.add(place, f"the file {shown(str(path), 300)} cannot be read ({error.strerror or error}){near}")
            return
        self._size += len(data)
        if self._size > LARGEST:
            self.faults.add(place, f"{path.name}: a policy with all that it includes has at most {LARGEST:,} bytes")
            return
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            self.faults.add(place, f"{path.name} is not UTF-8 text (byte {error.start})")
            return
        if len(self._done) >= _MOST_INCLUDES:
            self.faults.add(place, f"more than {_MOST_INCLUDES} files are included")
            return
        self._open.append(real)
        self._text(text, str(path), path.parent)
        self._open.pop()
        self._done[real] = None

    def _text(self, text: str, source: str, folder: Path) -> None:
        lines = text.splitlines(keepends=True)
        dumped: list[Node] | None = None
        documents = parse_yaml(text, source, self.faults)
        for node in documents:
            if not self._document(node, folder) or not isinstance(node.value, dict):
                continue
            if not _comment_out(lines, node):
                dumped = documents
        if dumped is not None:
            plain = [node.plain() for node in dumped if isinstance(node.value, dict)]
            self.policy.texts += [dump({k: v for k, v in p.items() if k != "include"}) for p in plain]
        elif text.strip():
            self.policy.texts.append("".join(lines))

    def _document(self, node: Node, folder: Path) -> bool:
        """Take in one document; tells whether it includes others."""
        if node.value is None:
            return False
        if not isinstance(node.value, dict):
            self.faults.add(node.place, f"a policy is a mapping with {', '.join(_SECTIONS)}; found {node.what}")
            return False
        included = node.value.get("include")
        if included is not None:
            self._include(included[1], folder)
        for name, (key, value) in node.value.items():
            if name == "include":
                continue
            if name not in _SECTIONS:
                self.faults.add(key.place, f"unknown section {name!r}{did_you_mean(name, _SECTIONS)}")
                continue
            if value.value is None:
                continue
            if not isinstance(value.value, dict):
                self.faults.add(value.place, f"{name!r} is a mapping; found {value.what}")
                continue
            getattr(self, f"_section_{name}")(value.value)
        return included is not None

    def _include(self, node: Node, folder: Path) -> None:
        for inner in node.value if isinstance(node.value, list) else [node]:
            if not isinstance(inner.value, str):
                self.faults.add(inner.place, f"'include' is a list of paths; found {inner.what}")
                continue
            path = folder / inner.value
            assert self._root is not None
            real = self._real(path, inner.place)
            if real is None:
                continue
            if not self.trusted and not real.is_relative_to(self._root.resolve()):
                self.faults.add(inner.place, f"{inner.value!r} lies outside the folder of the policy: not included")
                continue
            self._file(path, inner.place)

    def _real(self, path: Path, place: Place) -> Path | None:
        try:
            return path.resolve()
        except (OSError, RuntimeError, ValueError) as error:
            # A ring of links, or a NUL in the name.
            self.faults.add(place, f"the file {shown(str(path), 300)} cannot be read ({error})")
            return None

    def _section_keys(self, items: dict[str, tuple[Node, Node]]) -> None:
        for name, (key, value) in items.items():
            kind = value.value
            if self._key(name, key.place) and not (isinstance(kind, str) and kind in KINDS):
                near = did_you_mean(str(kind), KINDS)
                self.faults.add(value.place, f"a key is one of {', '.join(KINDS)}; found {value.what}{near}")
            elif isinstance(kind, str):
                self.policy.keys[name] = (kind, key.place)

    def _section_implied(self, items: dict[str, tuple[Node, Node]]) -> None:
        for name, (key, value) in items.items():
            given = value.value if isinstance(value.value, list) else [value]
            words = [n.value for n in given if isinstance(n.value, str) and self._key(n.value, n.place)]
            if not self._key(name, key.place):
                continue
            if len(words) != len(given) or not words:
                self.faults.add(value.place, f"'implied' takes lists of keys, {{filter: [visit]}}; found {value.what}")
            elif name in words:
                self.faults.add(value.place, f"the key {name!r} cannot imply itself")
            else:
                self.policy.implied[name] = (tuple(map(str, words)), key.place)

    def _section_aliases(self, items: dict[str, tuple[Node, Node]]) -> None:
        for text, (key, value) in items.items():
            name = self.name(text, key.place)
            target = self.name(value.value, value.place)
            if name is None or target is None:
                continue
            if name.stage is not None or name.component:
                self.faults.add(key.place, f"an alias is a bare name, without stage or component; found {text!r}")
            else:
                self.policy.aliases[name.type] = (str(target), value.place)

    def _section_datasets(self, items: dict[str, tuple[Node, Node]]) -> None:
        seen: dict[str, Place] = {}
        if len(items) + len(self.policy.drafts) > _MOST_TYPES:
            place = next(iter(items.values()))[0].place
            self.faults.add(place, f"more than {_MOST_TYPES:,} dataset types; spread them over several repositories")
            return
        for text, (key, value) in items.items():
            written, parent_text = text, None
            inheriting = _INHERITING.match(text)
            if inheriting is not None:
                written, parent_text = inheriting["name"], inheriting["parent"]
            name = self.name(written, key.place)
            parent = self.name(parent_text, key.place) if parent_text is not None else None
            if name is None or (parent_text is not None and parent is None):
                continue
            if str(name) in seen:
                first = seen[str(name)]
                self.faults.add(key.place, f"{str(name)!r} is defined twice; first in {first}")
                continue
            seen[str(name)] = key.place
            if value.value is not None and not isinstance(value.value, dict):
                self.faults.add(value.place, f"a dataset type is a mapping of options; found {value.what}")
                continue
            options = dict(value.value or {})
            extends = options.pop("extends", None)
            if extends is not None:
                other = self.name(extends[1].value, extends[1].place)
                if other is not None and parent is not None and other != parent:
                    self.faults.add(extends[1].place, f"{text!r} already extends {str(parent)!r}")
                parent = other or parent
            self.policy.drafts[str(name)] = Draft(
                str(name), options, key.place, str(parent) if parent is not None else None, self.trusted
            )

    def _key(self, name: str, place: Place) -> bool:
        try:
            check_key(name)
        except DataIdError as error:
            hint = "; write visit: int" if ":" in name else ""
            self.faults.add(place, f"{error}{hint}")
            return False
        return True

    def name(self, text: Scalar | list[Node] | dict[str, tuple[Node, Node]], place: Place) -> DatasetName | None:
        """Parse a dataset name, or note a fault."""
        if not isinstance(text, str):
            self.faults.add(place, f"a dataset name is text; found {Node(text, place).what}")
            return None
        try:
            return DatasetName.parse(text)
        except DatasetNameError as error:
            self.faults.add(place, str(error))
            return None


def expand(drafts: Mapping[str, Draft], known: Mapping[str, Draft], faults: Faults) -> dict[str, Draft]:
    """Return the drafts with the options that they inherit."""
    done: dict[str, Draft] = {}
    depths: dict[str, int] = {}

    def full(draft: Draft, trail: tuple[str, ...]) -> Draft:
        if draft.name in done:
            return done[draft.name]
        options: Mapping[str, tuple[Node, Node]] = draft.options
        trusted = draft.trusted
        if draft.parent is not None:
            if len(trail) > _DEEPEST or depths.get(draft.parent, 0) > _DEEPEST:
                faults.add(draft.place, f"extends others more than {_DEEPEST} deep")
            elif draft.parent in trail or draft.parent == draft.name:
                around = " -> ".join((*trail, draft.name, draft.parent))
                faults.add(draft.place, f"these dataset types extend each other: {around}")
            elif draft.parent in drafts:
                parent = full(drafts[draft.parent], (*trail, draft.name))
                options = {**parent.options, **options}
                trusted = trusted and parent.trusted
            elif draft.parent in known:
                options = {**known[draft.parent].options, **options}
                trusted = trusted and known[draft.parent].trusted
            else:
                near = did_you_mean(draft.parent, [*drafts, *known])
                faults.add(draft.place, f"{draft.name!r} extends {draft.parent!r}, which is not defined{near}")
        depths[draft.name] = 1 + depths.get(draft.parent or "", 0)
        found = done[draft.name] = Draft(draft.name, options, draft.place, draft.parent, trusted)
        return found

    for draft in drafts.values():
        full(draft, ())
    return {name: done[name] for name in drafts}


def dump(plain: Any) -> str:
    """Return plain values as YAML that both 1.1 and 1.2 readers read alike."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        style = "'" if not isinstance(resolve(text), str) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, quoted)
    text: str = yaml.dump(plain, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
    return text


def join_texts(texts: list[str] | tuple[str, ...]) -> str:
    """Return several YAML texts as the documents of one."""
    joined = ""
    for text in texts:
        body = text if text.endswith("\n") else text + "\n"
        if joined and body.startswith("%"):
            joined += "...\n"
        elif joined and not re.match(r"---(\s|\Z)", body):
            joined += "---\n"
        joined += body
    return joined


def _is_text(source: str) -> bool:
    stripped = source.strip()
    return not stripped or "\n" in source or ": " in source or stripped.endswith(":") or stripped.startswith("{")


def _files(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        # The message that this is for says already that the folder cannot be read.
        return []


def _comment_out(lines: list[str], document: Node) -> bool:
    """Turn the ``include`` lines of a document in block style into comments; False if it is not in block style."""
    assert isinstance(document.value, dict)
    starts = sorted((key.place.line, key.place.column, name) for name, (key, _) in document.value.items())
    at = next(i for i, (_, _, name) in enumerate(starts) if name == "include")
    first, column, _ = starts[at]
    if column != 1 or any(c != 1 for _, c, _ in starts):
        return False
    _, value = document.value["include"]
    items = value.value if isinstance(value.value, list) else [value]
    last = max((node.place.line for node in items), default=first)
    following = starts[at + 1][0] if at + 1 < len(starts) else len(lines) + 1
    start = value.place
    if isinstance(value.value, list) and lines[start.line - 1][start.column - 1] == "[":
        while last < following - 1 and "]" not in lines[last - 1]:
            last += 1
    for i in range(first - 1, last):
        lines[i] = "# included above: " + lines[i]
    return True
