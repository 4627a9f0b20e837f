"""The validated model of a policy: frozen, free of I/O, free of imports of anybody's classes.

A dataset type is one of three: `StoredType` (stored as a whole in one file, or a part of one),
`CompositeType` (assembled from components) or `PartOfType` (a part, or a type with keys fixed, under a
name of its own). All names in here are canonical: ``calexp:jointcal.wcs``, never ``calexp.wcs:jointcal``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from ..names import same_component
from ..templates import Template
from ..values import dataclass, field


@dataclass(frozen=True, slots=True)
class Place:
    """Where a definition was written, for messages."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class PartDefinition:
    """One part of a file that Bunter did not write.

    Attributes
    ----------
    hdu : int, str, (str, int), or {key: {value: hdu}}
        Which HDU; strings may hold template fields (``"{ccd}"``).
    row, rows : mapping or None
        Column values (strings may hold template fields) that choose one row, or some.
    column : str or None
        Only this column.
    read : str or None
        ``data``, ``header`` or ``wcs``; None: the default for the part's name.
    python : str or None
        Dotted name of the Python type.
    convert : object or None
        As written in the policy: a string (``inverse_variance``, ``splinesky``, a dotted name), or a
        mapping of one item (``{bits: {...}}``, ``{codes: {...}}``, ``{visit_info: {...}}``).
    """

    name: str
    hdu: Any = None
    row: Mapping[str, Any] | None = None
    rows: Mapping[str, Any] | None = None
    column: str | None = None
    read: str | None = None
    python: str | None = None
    convert: Any = None


@dataclass(frozen=True, slots=True)
class CardMatch:
    """A header card that gives a key: ``{card: FILTER, match: "{filter} DECam {_}"}``."""

    card: str
    match: str | None = None


@dataclass(frozen=True, slots=True)
class Each:
    """One file, many datasets.

    Attributes
    ----------
    kind : {"hdu", "columns", "values"}
        ``each: {hdu: ccd}``, ``each: {columns: {expnum: visit}}`` or ``each: {filter: [u, g]}``.
    names : mapping
        ``hdu``: ``{"hdu": key}``; ``columns``: ``{column: key}``; ``values``: ``{key: (values...)}``.
    """

    kind: str
    names: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoredType:
    """A dataset type that is stored (Type 1).

    Attributes
    ----------
    keys : tuple of str
        The keys of its data ID, in order; never path fields, never implied keys.
    path_fields : tuple of str
        Template fields that are not identity; if there are any the type is ingest-only.
    """

    name: str
    storage: str
    python: str | None = None
    template: Template | None = None
    keys: tuple[str, ...] = ()
    path_fields: tuple[str, ...] = ()
    parts: Mapping[str, PartDefinition] = field(default_factory=dict)
    id_from: Mapping[str, CardMatch] = field(default_factory=dict)
    each: Each | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    place: Place = Place("")
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class ComponentDefinition:
    """How one component of a composite is found and written.

    Attributes
    ----------
    dataset_type : str
        Canonical name of the dataset type, or of a part of one (``calexp:sfm.psf``).
    data_id : mapping
        Key of the component -> a fixed value, or a string ``"{key}"`` naming a key of the composite.
    data_ids : object or None
        As written: a component's name, ``"precursors"``, ``{"precursorsOf": name}``, or
        ``{"component":, "cards":, "match":}``.
    spent : bool
        Whether an operation of the base uses it up, so that the object need not have a place for it.
    """

    name: str
    dataset_type: str
    input_only: bool = False
    subset: bool = False
    lazy: bool = False
    data_id: Mapping[str, Any] = field(default_factory=dict)
    data_ids: Any = None
    optional: bool = False
    setter: str | None = None
    getter: str | None = None
    place: Place = Place("")
    spent: bool = False


@dataclass(frozen=True, slots=True)
class DerivedDefinition:
    """A component that is computed at get: ``{from: [image], with: bunter.exposure.bbox}``.

    One that is made from the component of its own name is an *operation* and takes its place.
    """

    name: str
    inputs: tuple[str, ...]
    function: str

    @property
    def is_operation(self) -> bool:
        """Whether it is made from the component of its own name."""
        return any(same_component(self.name, word) for word in self.inputs)


@dataclass(frozen=True, slots=True)
class CompositeType:
    """A dataset type that is assembled from components.

    `components` holds what is written under ``composite:`` and under names of components; what `base`
    adds is expanded on use, since it takes the components that the base's Python type declares.
    """

    name: str
    python: str | None = None
    base: str | None = None
    components: Mapping[str, ComponentDefinition] = field(default_factory=dict)
    assembler: str | None = None
    disassembler: str | None = None
    standardize: str | None = None
    read_only: bool = False
    derived: Mapping[str, DerivedDefinition] = field(default_factory=dict)
    own_keys: tuple[str, ...] = ()
    place: Place = Place("")
    trusted: bool = False

    @property
    def operations(self) -> dict[str, DerivedDefinition]:
        """The derived components that take the place of a component."""
        return {name: derived for name, derived in self.derived.items() if derived.is_operation}

    def operation(self, component: str) -> DerivedDefinition | None:
        """Return the operation on a component, None if there is none."""
        for derived in self.derived.values():
            if derived.is_operation and same_component(derived.name, component):
                return derived
        return None

    @property
    def computed(self) -> dict[str, DerivedDefinition]:
        """The derived components that are components of their own."""
        return {name: derived for name, derived in self.derived.items() if not derived.is_operation}


@dataclass(frozen=True, slots=True)
class PartOfType:
    """A part of another dataset, or a whole one with keys fixed, under a name of its own (Type 2)."""

    name: str
    target: str
    data_id: Mapping[str, Any] = field(default_factory=dict)
    place: Place = Place("")


DatasetType: TypeAlias = StoredType | CompositeType | PartOfType
