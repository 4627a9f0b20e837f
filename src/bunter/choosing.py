"""Which columns of which tables are read when a user asks for some columns of what is assembled of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from .assembly import ColumnSet
from .errors import ParameterError
from .formats.convert import is_tabular
from .formats.tables import check_columns, names_of
from .locate import Found, Located, LocatedBranch, LocatedList, LocatedNode
from .plan import Leaf
from .words import did_you_mean, listing

_Key = tuple[UUID, str]


class Choice:
    """What is to be read of each leaf of a located tree.

    An assembler that knows whose columns its result has (`bunter.assembly.ColumnSet`) is asked; below any other, and
    in lists, every table gets the same columns.

    Parameters
    ----------
    located : LocatedBranch
        The tree.
    columns : sequence of str
        What the user asks for.
    name : str
        The dataset, for messages.
    assembler : callable
        ``(composite) -> assembler or None``.
    takes : callable
        ``(leaf, found) -> bool``: whether a leaf takes the parameter ``columns``.
    names : callable
        ``(leaf, found) -> names of its columns``, None if it is no table.

    Raises
    ------
    ParameterError
        If there is no such column.
    """

    def __init__(
        self,
        located: LocatedBranch,
        columns: Any,
        name: str,
        assembler: Callable[[Any], Any],
        takes: Callable[[Leaf, Found], bool],
        names: Callable[[Leaf, Found], Sequence[str] | None],
    ) -> None:
        self._assembler = assembler
        self._takes = takes
        self._names_of_leaf = names
        self._of_leaf: dict[int, list[str]] = {}
        self._of_node: dict[int, list[str]] = {}
        self._present_in: dict[int, dict[str, ColumnSet]] = {}
        self._skipped: set[int] = set()
        self._read: dict[_Key, list[str]] = {}
        # What is kept by identity must not go away meanwhile.
        self._located = located
        self._name = name
        self._assign(located, columns, name)

    def skips(self, branch: LocatedBranch) -> bool:
        """Tell whether a component is not read at all."""
        return id(branch) in self._skipped

    def read(self, key: _Key) -> list[str] | None:
        """Return the columns to read of a leaf; None: it takes none."""
        return self._read.get(key)

    def present(self, branch: LocatedNode) -> dict[str, ColumnSet]:
        """Return which columns the components have, if their assembler chose among them."""
        return self._present_in.get(id(branch), {})

    def chosen(self, branch: LocatedBranch, value: Any) -> Any:
        """Return of what was read, or assembled, the columns that were asked for in this place."""
        columns = self._of_leaf.get(id(branch)) or self._of_node.get(id(branch))
        if columns is None or not is_tabular(value):
            return value
        from .assembly_tables import only_columns

        there = names_of(value)
        for column in columns:
            if column not in there:
                raise ParameterError(
                    f"{self._name}: there is no column {column!r}{did_you_mean(column, there)}; what was assembled "
                    f"has: {listing(there)}"
                )
        return only_columns(value, columns)

    def _assign(self, branch: LocatedBranch, columns: Any, name: str) -> None:
        if isinstance(branch, Located):
            if branch.found is None or not isinstance(branch.leaf, Leaf) or not self._takes(branch.leaf, branch.found):
                return
            key = branch.found.record.uuid, branch.leaf.part
            self._of_leaf[id(branch)] = columns
            known = self._read.setdefault(key, columns)
            if known is not columns:
                self._read[key] = list(dict.fromkeys((*known, *columns)))
        elif isinstance(branch, LocatedList):
            for data_id, member in _members(branch):
                self._assign(member, columns, f"{name}{data_id}")
        elif branch.node.take:
            self._assign(branch.branches[branch.node.take], columns, name)
        else:
            self._assign_node(branch, columns, name)

    def _assign_node(self, branch: LocatedNode, columns: Any, name: str) -> None:
        assembler: Any = None if branch.node.derive else self._assembler(branch.node.composite)
        present = self._columns_in(branch) if hasattr(assembler, "select_columns") else {}
        if not present:
            for inner_name, inner in branch.branches.items():
                self._assign(inner, columns, f"{name}.{inner_name}")
            return
        wanted = check_columns(columns, assembler.column_names(present), name)
        self._of_node[id(branch)] = wanted
        self._present_in[id(branch)] = present
        chosen = assembler.select_columns(wanted, present)
        for inner_name in present:
            inner = branch.branches[inner_name]
            if chosen.get(inner_name):
                self._assign(inner, list(chosen[inner_name]), f"{name}.{inner_name}")
            else:
                self._skipped.add(id(inner))

    def _columns_in(self, branch: LocatedNode) -> dict[str, ColumnSet]:
        """Return the components that are tables, or lists of tables."""
        found: dict[str, ColumnSet] = {}
        for name, inner in branch.branches.items():
            names = self._names(inner)
            if names is not None:
                found[name] = ColumnSet(tuple(names), isinstance(inner, LocatedList))
        return found

    def _names(self, branch: LocatedBranch) -> Sequence[str] | None:
        if isinstance(branch, Located):
            if branch.found is None or not isinstance(branch.leaf, Leaf) or not self._takes(branch.leaf, branch.found):
                return None
            return self._names_of_leaf(branch.leaf, branch.found)
        if isinstance(branch, LocatedList):
            # Members that differ are reported when they are read.
            first = next((member for _, member in _members(branch)), None)
            return None if first is None else self._names(first)
        if branch.node.take:
            return self._names(branch.branches[branch.node.take])
        assembler: Any = None if branch.node.derive else self._assembler(branch.node.composite)
        present = self._columns_in(branch)
        if present and hasattr(assembler, "column_names"):
            names: Sequence[str] = assembler.column_names(present)
            return names
        tables = [columns.names for columns in present.values()]
        # Every one of them will get the columns, so that only what all have can be asked for.
        return [name for name in tables[0] if all(name in other for other in tables[1:])] if tables else None


def _members(branch: LocatedList) -> Iterator[tuple[Mapping[str, Any], LocatedBranch]]:
    if not branch.lazy:
        for data_id, member in branch.members:
            if not branch.is_none(member):
                yield data_id, member
