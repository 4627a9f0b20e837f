"""Building a composite from its components, and taking it apart again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from .components import declared_components, get_component, has_component, match_component, set_component
from .dataid import DataId
from .definitions.calls import parse_call
from .definitions.model import ComponentDefinition, CompositeType
from .errors import AssemblyError, TrustError
from .operations import ComponentDict
from .values import dataclass, is_dataclass
from .words import did_you_mean, listing

if TYPE_CHECKING:
    from inspect import Parameter

Assembler: TypeAlias = Callable[[dict[str, Any], dict[str, Any], Any], Any]
"""``f(dataId, componentDict, classObj)``"""

Disassembler: TypeAlias = Callable[[Any, dict[str, Any], dict[str, Any]], None]
"""``f(obj, dataId, componentDict)``"""


@dataclass(frozen=True, slots=True)
class ColumnSet:
    """The names of the columns that a component of a composite has; of a list, those of each member.

    An assembler that is an object with the methods ``column_names(present)`` and ``select_columns(columns, present)``
    (`present`: component -> `ColumnSet`) is asked by them which columns of which component a selection of columns
    needs. Components that it does not name are not read, and arrive as None; `present` is then an attribute of the
    component dict.
    """

    names: tuple[str, ...]
    is_list: bool = False


class MemberList(list[Any]):
    """The members of a list component, in key order.

    Attributes
    ----------
    data_ids : list of DataId
        The data ID of each member.
    """

    def __init__(self, members: Iterable[Any] = (), data_ids: Iterable[DataId] = ()) -> None:
        super().__init__(members)
        self.data_ids = list(data_ids)


def built_in(text: str) -> Assembler | None:
    """Return a built-in assembler other than ``generic``: ``join_columns(objectId)``."""
    call = parse_call(text)
    if call is None or call.name == "generic":
        return None
    if call.name == "concat_rows":
        from .assembly_rows import ConcatRows

        return ConcatRows(call.arguments, call.options.get("same", ()))
    from .assembly_columns import JoinColumns

    return JoinColumns(call.arguments, call.option("how", "same"), call.option("clash", "suffix"))


def assemble(
    composite: CompositeType,
    definitions: Mapping[str, ComponentDefinition],
    data_id: Mapping[str, Any],
    values: Mapping[str, Any],
    class_obj: Any,
    assembler: Assembler | None,
    origin: tuple[int, int] | None = None,
    trusted: bool = False,
    present: Mapping[str, ColumnSet] | None = None,
) -> Any:
    """Build a composite.

    Parameters
    ----------
    values : mapping
        Every component's object; None for an absent optional one.
    class_obj : type or None
        The composite's Python type; without one the generic assembler hands out a dict.
    assembler : callable or None
        None: the generic one.
    origin : (int, int) or None
        (y0, x0) if the planes are cutouts; an object that has an ``origin`` is told.
    trusted : bool
        Whether the user handed over the definition in code; else setters must be named ``set*``.
    present : mapping, optional
        Which columns the components have, if only some of them were read.

    Raises
    ------
    AssemblyError
        If the object has no place for a component. What an assembler raises itself passes unchanged,
        with a note that says what was being assembled.
    """
    try:
        if assembler is not None:
            built = assembler(dict(data_id), ComponentDict(values, origin or (0, 0), present), class_obj)
        else:
            built = _generic(composite, definitions, values, class_obj, trusted)
        if origin is not None and hasattr(built, "origin"):
            built.origin = origin
    except Exception as error:
        error.add_note(f"while assembling {composite.name!r} {dict(data_id)!r}")
        raise
    return built


def _generic(
    composite: CompositeType,
    definitions: Mapping[str, ComponentDefinition],
    values: Mapping[str, Any],
    class_obj: Any,
    trusted: bool,
) -> Any:
    if class_obj is None or class_obj is dict:
        return dict(values)
    left = dict(values)
    built = _whole_among(values, class_obj)
    if built is not None:
        whole_name, obj = built
        del left[whole_name]
    else:
        arguments = {}
        for parameter in _constructor_parameters(class_obj):
            name = match_component(parameter.name, left)
            if name is not None and not definitions[name].setter:
                arguments[parameter.name] = left.pop(name)
            elif parameter.default is parameter.empty:
                raise AssemblyError(
                    f"{composite.name!r} cannot be assembled: {class_obj.__name__}(...) needs {parameter.name!r}, "
                    f"which is not among the components: {listing(values)}. Give the composite an assembler"
                )
        obj = class_obj(**arguments)
    inputs = [word for derived in composite.operations.values() for word in derived.inputs]
    for name, value in left.items():
        setter = definitions[name].setter
        _check_accessor(composite, setter, "set", trusted)
        used_up = definitions[name].spent or match_component(name, inputs) is not None
        if (value is None or used_up) and not setter and not _can_hold(obj, name):
            continue
        try:
            set_component(obj, name, value, setter)
        except AttributeError as error:
            if setter is None and not _can_hold(obj, name):
                raise AssemblyError(
                    f"{composite.name!r} cannot be assembled: a {class_obj.__name__} has no place for {name!r} (no "
                    f"constructor argument, setter or declared attribute){did_you_mean(name, dir(obj))}. "
                    "Name a 'setter', or give the composite an assembler"
                ) from error
            raise
    return obj


def _can_hold(obj: Any, name: str) -> bool:
    declared = declared_components(type(obj))
    return match_component(name, declared) is not None or has_component(obj, name)


def _whole_among(values: Mapping[str, Any], class_obj: Any) -> tuple[str, Any] | None:
    """Return the one component that is a whole object of the composite's own class, if there is one."""
    if not isinstance(class_obj, type):
        return None
    declared = declared_components(class_obj)
    found = [
        (name, value)
        for name, value in values.items()
        if isinstance(value, class_obj) and match_component(name, declared) is None
    ]
    return found[0] if len(found) == 1 else None


def _constructor_parameters(class_obj: Any) -> Sequence[Parameter]:
    made_by = getattr(class_obj, "__init__", None), getattr(class_obj, "__new__", None)
    try:
        return _parameters(class_obj, *made_by)
    except TypeError:
        # Not everything that can be called can be remembered.
        return _parameters.__wrapped__(class_obj, *made_by)


@lru_cache(256)
def _parameters(class_obj: Any, *made_by: Any) -> Sequence[Parameter]:
    """Return the parameters of what makes objects; `made_by` tells when they may be others."""
    import inspect

    try:
        signature = inspect.signature(class_obj)
    except (TypeError, ValueError):
        return ()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p for p in signature.parameters.values() if p.kind in kinds]


def _check_accessor(composite: CompositeType, accessor: str | None, prefix: str, trusted: bool) -> None:
    """Let an untrusted policy reach only methods and attributes named ``set*`` and ``get*``."""
    if accessor is None:
        return
    if not accessor.isidentifier():
        raise AssemblyError(f"{composite.name!r}: {accessor!r} is not the name of a method or an attribute")
    if not trusted and not accessor.startswith(prefix):
        raise TrustError(
            f"{composite.name!r} asks for the {prefix}ter {accessor!r}; a policy that you did not pass in code "
            f"reaches only names that begin with {prefix!r}"
        )


def take_apart(
    composite: CompositeType,
    definitions: Mapping[str, ComponentDefinition],
    data_id: Mapping[str, Any],
    obj: Any,
    disassembler: Disassembler | None,
    whole_types: Mapping[str, Any],
    trusted: bool = False,
) -> dict[str, Any]:
    """Take a composite apart.

    Parameters
    ----------
    disassembler : callable or None
        None: the generic one.
    whole_types : mapping
        Component name -> Python type of those components that are stored as wholes.

    Returns
    -------
    dict
        Component name -> object; names that are lacking were left out.

    Raises
    ------
    AssemblyError
        If a disassembler hands over names that the composite does not have, or the generic one finds a
        component neither on the object nor as the object.
    """
    parts: dict[str, Any] = {}
    if disassembler is None:
        for name, component in definitions.items():
            _check_accessor(composite, component.getter, "get", trusted)
            found = _take_generic(composite, obj, name, component, whole_types.get(name))
            if found is not _LACKING:
                parts[name] = found
        if not any(part is obj for part in parts.values()):
            _refuse_more(composite, definitions, obj)
        return parts
    try:
        disassembler(obj, dict(data_id), parts)
    except Exception as error:
        error.add_note(f"while taking apart {composite.name!r} {dict(data_id)!r}")
        raise
    named: dict[str, Any] = {}
    for name, value in parts.items():
        known = match_component(name, definitions)
        if known is None:
            raise AssemblyError(
                f"the disassembler of {composite.name!r} handed over {name!r}, which is not a component"
                f"{did_you_mean(name, definitions)}; the components are: {listing(definitions)}"
            )
        named[known] = value
    return named


_LACKING = object()


def _refuse_more(composite: CompositeType, definitions: Mapping[str, ComponentDefinition], obj: Any) -> None:
    """Refuse an object that holds a component for which the composite has no place: it would be lost.

    Only what a class declares counts; other attributes may be anything.
    """
    known = [*definitions, *composite.derived]
    if isinstance(obj, Mapping):
        held = {str(name): value for name, value in obj.items()}
    elif hasattr(type(obj), "__bunter_components__") or is_dataclass(obj):
        held = {name: get_component(obj, name) for name in declared_components(type(obj))}
    else:
        return
    for name, value in held.items():
        if match_component(name, known) is None and not _is_nothing(value):
            raise AssemblyError(
                f"{composite.name!r} has no place for the {name!r} of the object{did_you_mean(name, known)}; its "
                f"components are: {listing(known)}. Nothing was written. Set it to None, or define a component for it"
            )


def _is_nothing(value: Any) -> bool:
    """Tell whether a value says nothing: None, or an empty container of plain values."""
    return value is None or (isinstance(value, Mapping | list | tuple | str) and not value)


def _take_generic(
    composite: CompositeType, obj: Any, name: str, component: ComponentDefinition, whole_type: Any
) -> Any:
    if component.getter is not None:
        return get_component(obj, name, component.getter)
    if isinstance(obj, Mapping):
        known = match_component(name, obj)
        return _LACKING if known is None else obj[known]
    declared = declared_components(type(obj))
    if isinstance(whole_type, type) and isinstance(obj, whole_type) and match_component(name, declared) is None:
        return obj
    if not has_component(obj, name):
        return _LACKING
    return get_component(obj, name)


def parts_to_strip(value: Any, own_name: str, siblings: Iterable[str]) -> list[str]:
    """Return the components of a whole object whose place the composite's other components take."""
    declared = declared_components(type(value))
    if not declared or match_component(own_name, declared) is not None:
        return []
    found = (match_component(name, declared) for name in siblings if name != own_name)
    return [name for name in found if name is not None]


def stripped(value: Any, components: Iterable[str]) -> Any:
    """Return a shallow copy of a whole object without some of its components."""
    import copy

    bare = copy.copy(value)
    for name in components:
        set_component(bare, name, None)
    return bare


def members_of(value: Any, name: str) -> Iterator[tuple[DataId, Any]]:
    """Return the members that a disassembler handed back for a list component.

    Raises
    ------
    AssemblyError
        If it is neither a `MemberList` nor ``{data ID: object}`` nor pairs of both.
    """
    own = getattr(value, "__bunter_members__", None)
    if callable(own):
        # Pairs, which an object hands over without opening what it did not open yet.
        items = list(own())
    elif isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, MemberList) and len(value) == len(value.data_ids):
        items = list(zip(value.data_ids, value, strict=True))
    elif isinstance(value, list | tuple) and all(isinstance(i, tuple) and len(i) == 2 for i in value):
        items = list(value)
    else:
        raise AssemblyError(
            f"the component {name!r} is a list: hand back the list that get gave (it knows its data IDs), "
            f"or a mapping of data ID to object, not a {type(value).__name__}"
        )
    for data_id, member in items:
        yield DataId(data_id), member
