"""The plan of a get as people and programs read it: which part comes from where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from . import formats
from .components import match_component
from .dataid import DataId
from .locate import Located, LocatedBranch, LocatedList, lacking
from .names import DatasetName
from .plan import Leaf, source_component
from .reading import Opener
from .values import dataclass

if TYPE_CHECKING:
    from .choosing import Choice


def human_size(size: int) -> str:
    """Return a size in bytes with a unit.

    Examples
    --------
    >>> human_size(5760), human_size(64 * 10**6)
    ('5.8 kB', '64.0 MB')
    """
    if size < 1000:
        return f"{size} B"
    value = float(size)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.95 or unit == "TB":
            break
    return f"{value:.1f} {unit}"


class Plan:
    """Which component comes from which dataset, file and repository.

    Print it for a tree; `to_dict` gives the same as plain values. Missing parts are shown, not raised.
    """

    def __init__(
        self,
        name: str,
        data_id: Mapping[str, Any],
        located: LocatedBranch,
        opener: Opener,
        choice: Choice | None = None,
    ) -> None:
        self.name = name
        self.data_id = DataId(data_id)
        self._tree = _describe(name.rpartition(".")[2] if "." in name else name, located, _Told(opener, choice))
        self.complete = not any(True for _ in lacking(located))

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values (JSON)."""
        return {"name": self.name, "data_id": dict(self.data_id), "complete": self.complete, **self._tree}

    def leaves(self) -> list[dict[str, Any]]:
        """Return the leaves, outermost first, as plain values with a ``component`` path."""
        return list(_leaves(self._tree, ""))

    def __str__(self) -> str:
        lines = [f"{self.name} {self.data_id}{_composite_note(self._tree)}"]
        if "components" in self._tree or "members" in self._tree:
            _draw(self._tree, "", lines)
        else:
            lines.append("└─ " + _leaf_line(self._tree))
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Plan of {self.name} {self.data_id}: {len(self.leaves())} leaves>"


@dataclass(frozen=True, slots=True)
class _Told:
    """What a walk over the tree knows beside the tree."""

    opener: Opener
    choice: Choice | None = None
    skipped: bool = False


def _describe(component: str, branch: LocatedBranch, told: _Told) -> dict[str, Any]:
    if told.choice is not None and told.choice.skips(branch):
        told = _Told(told.opener, told.choice, skipped=True)
    if isinstance(branch, Located):
        return _describe_leaf(branch, told)
    if isinstance(branch, LocatedList):
        return {
            "dataset_type": str(branch.gather.name),
            "list": True,
            "pinned": branch.pinned,
            "members": [
                {"data_id": dict(data_id), **_describe(component, member, told)} for data_id, member in branch.members
            ],
        }
    node = branch.node
    if node.take:
        inner = _describe(node.take, branch.branches[node.take], told)
        inner.setdefault("through", node.composite.name)
        return inner
    if node.derive:
        derived = node.composite.derived[node.derive]
        inputs = {name: _describe(name, inner, told) for name, inner in branch.branches.items()}
        return {"derived": f"{node.composite.name}.{node.derive}", "with": derived.function, "components": inputs}
    described: dict[str, Any] = {
        "composite": node.composite.name,
        "data_id": dict(node.data_id),
        "assembler": node.composite.assembler or "generic",
        "put": None if branch.put is None else str(branch.put.record.uuid),
        "components": {name: _describe(name, inner, told) for name, inner in branch.branches.items()},
    }
    lists = [inner.gather.source for inner in branch.branches.values() if isinstance(inner, LocatedList)]
    sources = [source for source in map(source_component, lists) if source is not None]
    for name, inner in described["components"].items():
        if match_component(name, sources) is not None:
            inner["lists"] = True
        operation = node.composite.operation(name)
        if operation is not None:
            inner["operation"] = f"{operation.function}({', '.join(operation.inputs)})"
    return described


def _describe_leaf(located: Located, told: _Told) -> dict[str, Any]:
    leaf = located.leaf
    if not isinstance(leaf, Leaf):
        return {"dataset_type": leaf.name, "state": located.state, "note": located.note}
    described: dict[str, Any] = {
        "dataset_type": leaf.stored.name,
        "stage": DatasetName.parse(leaf.stored.name).stage,
        "part": leaf.part or None,
        "data_id": dict(leaf.data_id),
        "state": located.state,
        "pinned": located.pinned,
    }
    if located.note:
        described["note"] = located.note
    if located.masks is not None:
        described["masks"] = str(located.masks)
    found = located.found
    if found is None:
        described["searched"] = list(located.searched)
        return described
    record = found.record
    described |= {
        "repository": found.repository.root,
        "repository_name": found.repository.name,
        "uuid": str(record.uuid),
        "trashed": not record.live,
    }
    if record.file is not None and record.writing is not None:
        described |= {"path": record.file.path, "uri": found.repository.files.uri(record.file.path)}
        described |= {"storage": record.writing.storage, "size": record.file.size}
        described["bytes"] = _ranges(leaf, located, told.opener)
    if told.choice is not None:
        columns = told.choice.read((record.uuid, leaf.part))
        if told.skipped or columns is not None:
            described["columns"] = [] if told.skipped else columns
    return described


def _ranges(leaf: Leaf, located: Located, opener: Opener) -> list[list[int]] | None:
    found = located.found
    if found is None or found.record.file is None or found.record.writing is None or not leaf.part:
        return None
    format_ = formats.find(found.record.writing.storage)
    if not format_.reads_parts:
        return None
    _, about = opener.about(found.record)
    part = opener.part_in(format_, about, leaf, found.record)
    if not part:
        return None
    ranges = format_.part_ranges(found.record.file.layout, part, about)
    return None if ranges is None else [[r.offset, r.length] for r in ranges]


def _leaves(tree: Mapping[str, Any], path: str) -> Iterator[dict[str, Any]]:
    if "components" in tree:
        for name, inner in tree["components"].items():
            yield from _leaves(inner, f"{path}.{name}" if path else name)
    elif "members" in tree:
        for inner in tree["members"]:
            yield from _leaves(inner, f"{path}{inner['data_id']}")
    else:
        yield {"component": path, **tree}


def _composite_note(tree: Mapping[str, Any]) -> str:
    if "components" not in tree:
        return ""
    if "derived" in tree:
        return f"  derived ({tree['with']}){_operation_note(tree)}"
    how = "as it was put" if tree["put"] else "never put as such: resolved afresh"
    return f"  assembled ({tree['assembler']}), {how}{_operation_note(tree)}"


def _operation_note(tree: Mapping[str, Any]) -> str:
    return f"  then {tree['operation']}" if "operation" in tree else ""


def _draw(tree: Mapping[str, Any], indent: str, lines: list[str]) -> None:
    children: list[tuple[str, Mapping[str, Any]]]
    if "components" in tree:
        children = list(tree["components"].items())
    else:
        children = [(str(member["data_id"]), member) for member in tree["members"]]
    if not children:
        lines.append(f"{indent}└─ (no members)")
    width = max((len(name) for name, _ in children), default=0)
    for index, (name, inner) in enumerate(children):
        last = index == len(children) - 1
        branch, below = ("└─ ", "   ") if last else ("├─ ", "│  ")
        if "components" in inner:
            lines.append(f"{indent}{branch}{name:<{width}}  {inner.get('composite', '')}{_composite_note(inner)}")
            _draw(inner, indent + below, lines)
        elif "members" in inner:
            pinned = ", as it was put" if inner["pinned"] else ""
            lines.append(f"{indent}{branch}{name:<{width}}  {len(inner['members'])} x {inner['dataset_type']}{pinned}")
            _draw(inner, indent + below, lines)
        else:
            lines.append(f"{indent}{branch}{name:<{width}}  {_leaf_line(inner)}")


def _leaf_line(leaf: Mapping[str, Any]) -> str:
    part = f".{leaf['part']}" if leaf.get("part") else ""
    text = f"{leaf['dataset_type']}{part}"
    state = leaf["state"]
    if state != "found":
        note = f": {leaf['note']}" if leaf.get("note") else ""
        where = f" (searched {', '.join(leaf['searched'])})" if state == "missing" and leaf.get("searched") else ""
        return f"{text}  {state.upper()}{note}{where}{_operation_note(leaf)}"
    text += f"  {leaf['repository_name']}: {leaf.get('path', 'composite')}"
    if "columns" in leaf:
        not_read = "read for the data IDs alone" if leaf.get("lists") else "not read"
        text += f"  columns {', '.join(leaf['columns'])}" if leaf["columns"] else f"  {not_read}"
    elif "size" in leaf:
        if leaf["bytes"] is not None:
            spans = ", ".join(f"{offset}-{offset + length}" for offset, length in leaf["bytes"])
            total = sum(length for _, length in leaf["bytes"])
            text += f"  bytes {spans} ({human_size(total)})" if spans else "  no bytes"
        else:
            text += f"  whole file ({human_size(leaf['size'])})"
    if leaf["pinned"]:
        text += "  pinned"
    if leaf.get("masks"):
        text += "  masks what was pinned"
    if leaf.get("trashed"):
        text += "  (in the trash)"
    return text + _operation_note(leaf)
