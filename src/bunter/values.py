"""Dataclasses that cost little until they are used, for the modules that every process imports.

They are what `dataclasses.dataclass` makes of a class, except that ``__init__`` is compiled when the class is first
called: the compiler takes half a millisecond a class, and most processes use few of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["dataclass", "field", "fields", "is_dataclass", "replace"]

if TYPE_CHECKING:
    from dataclasses import dataclass, field, fields, is_dataclass, replace
else:
    from operator import attrgetter
    from reprlib import recursive_repr
    from types import MemberDescriptorType

    class _Missing:
        def __repr__(self):
            # As signatures show a default that is made anew each time.
            return "<factory>"

    _MISSING = _Missing()

    class _Field:
        """What is known of one field; as what `dataclasses.field` returns, as far as it is needed here."""

        __slots__ = ("compare", "default", "default_factory", "init", "name", "repr")

        def __init__(self, default=_MISSING, default_factory=_MISSING, init=True, repr=True, compare=True):
            self.name = ""
            self.default = default
            self.default_factory = default_factory
            self.init = init
            self.repr = repr
            self.compare = compare

    def field(*, default=_MISSING, default_factory=_MISSING, init=True, repr=True, compare=True):
        """Say more of a field than its annotation does, as `dataclasses.field`."""
        return _Field(default, default_factory, init, repr, compare)

    def dataclass(cls=None, /, *, repr=True, eq=True, frozen=False, slots=False):
        """Make a class without dataclasses among its bases a dataclass, as `dataclasses.dataclass`."""

        def made(cls):
            return _made(cls, repr, eq, frozen, slots)

        return made if cls is None else made(cls)

    def is_dataclass(obj):
        """Tell whether an object is a dataclass or an instance of one, whoever made it."""
        return hasattr(obj if isinstance(obj, type) else type(obj), "__dataclass_fields__")

    def fields(obj):
        """Return the fields of a dataclass, or of an instance of one, that was made here."""
        return obj.__bunter_fields__

    def replace(obj, /, **changes):
        """Return a copy of an instance of a dataclass that was made here, with some values changed."""
        for item in obj.__bunter_fields__:
            if not item.init:
                if item.name in changes:
                    raise ValueError(f"{item.name} cannot be replaced: it follows from the others")
            elif item.name not in changes:
                changes[item.name] = getattr(obj, item.name)
        return obj.__class__(**changes)

    def _made(cls, with_repr, eq, frozen, slots):
        known = _fields_of(cls)
        names = tuple(item.name for item in known)
        added = {
            "__bunter_fields__": known,
            "__match_args__": tuple(item.name for item in known if item.init),
        }
        own = cls.__dict__
        if with_repr and "__repr__" not in own:
            added["__repr__"] = _repr_of(tuple(item.name for item in known if item.repr))
        if eq:
            compared = _getter(tuple(item.name for item in known if item.compare))
            if "__eq__" not in own:
                added["__eq__"] = _eq_of(compared)
            if own.get("__hash__") is None:
                added["__hash__"] = _hash_of(compared) if frozen else None
        if slots:
            if frozen and "__getstate__" not in own:
                added["__getstate__"], added["__setstate__"] = _getstate, _setstate
            kept = {key: own[key] for key in own if key not in names and key not in ("__dict__", "__weakref__")}
            # As a class gets its slots when it is made, it is made again.
            qualname = cls.__qualname__
            cls = type(cls)(cls.__name__, cls.__bases__, {**kept, **added, "__slots__": names})
            cls.__qualname__ = qualname
        else:
            for name, value in added.items():
                setattr(cls, name, value)
        # These know the class that has them.
        if frozen:
            cls.__setattr__, cls.__delattr__ = _frozen(cls, names)
        if "__init__" not in own:
            later = _Later(cls, known, frozen)
            cls.__init__, cls.__signature__ = later.first(), later
        cls.__dataclass_fields__ = _Standard(cls, known, frozen, eq)
        return cls

    def _fields_of(cls):
        known = []
        for name in vars(cls).get("__annotations__", ()):
            given = cls.__dict__.get(name, _MISSING)
            item = given if isinstance(given, _Field) else _Field(given)
            item.name = name
            known.append(item)
            if item is given:
                # The class shows defaults, as it would without `field`.
                if item.default is _MISSING:
                    delattr(cls, name)
                else:
                    setattr(cls, name, item.default)
        return tuple(known)

    def _getter(names):
        """Return the function that takes the tuple of some attributes."""
        if len(names) > 1:
            return attrgetter(*names)
        return lambda self: tuple([getattr(self, name) for name in names])

    def _repr_of(names):
        @recursive_repr("...")
        def __repr__(self):  # noqa: N807
            shown = ", ".join([f"{name}={getattr(self, name)!r}" for name in names])
            return f"{self.__class__.__qualname__}({shown})"

        return __repr__

    def _eq_of(compared):
        def __eq__(self, other):  # noqa: N807
            if other.__class__ is self.__class__:
                return compared(self) == compared(other)
            return NotImplemented

        return __eq__

    def _hash_of(compared):
        def __hash__(self):  # noqa: N807
            return hash(compared(self))

        return __hash__

    def _frozen(cls, names):
        known = frozenset(names)

        def __setattr__(self, name, value):  # noqa: N807
            if type(self) is cls or name in known:
                from dataclasses import FrozenInstanceError

                raise FrozenInstanceError(f"cannot assign to field {name!r}")
            super(cls, self).__setattr__(name, value)

        def __delattr__(self, name):  # noqa: N807
            if type(self) is cls or name in known:
                from dataclasses import FrozenInstanceError

                raise FrozenInstanceError(f"cannot delete field {name!r}")
            super(cls, self).__delattr__(name)

        return __setattr__, __delattr__

    def _getstate(self):
        return [getattr(self, item.name) for item in self.__bunter_fields__]

    def _setstate(self, state):
        for item, value in zip(self.__bunter_fields__, state, strict=True):
            object.__setattr__(self, item.name, value)

    class _Later:
        """The ``__init__`` of a class that was not called yet, and what lets `inspect` see it all the same."""

        def __init__(self, cls, known, frozen):
            self.cls, self.known, self.frozen = cls, known, frozen
            self.done = False

        def __get__(self, obj, owner=None):
            self.compile()
            # Without a signature of the class, that of its `__init__` is looked for.
            raise AttributeError("__signature__")

        def first(self):
            """Return an ``__init__`` that puts the compiled one in its place."""

            def __init__(made, /, *args, **kwargs):  # noqa: N807
                self.compile()
                # That of the class: it may have been called for a subclass.
                self.cls.__init__(made, *args, **kwargs)

            return __init__

        def compile(self):
            if not self.done:
                self.cls.__init__ = _compiled(self.cls, self.known, self.frozen)
                self.done = True

    def _compiled(cls, known, frozen):
        """Return the ``__init__`` of a class with some fields."""
        space = {"_missing": _MISSING}
        taken, lines = [], []
        for n, item in enumerate(known):
            name = given = item.name
            if item.default_factory is not _MISSING:
                space[f"_made{n}"] = item.default_factory
                given = f"_made{n}() if {name} is _missing else {name}" if item.init else f"_made{n}()"
                taken.append(f"{name}=_missing")
            elif item.default is not _MISSING:
                space[f"_default{n}"] = item.default
                taken.append(f"{name}=_default{n}")
                given = name if item.init else f"_default{n}"
            elif item.init:
                taken.append(name)
            else:
                # `__post_init__` sets it.
                continue
            if not item.init:
                taken.pop()
            slot = cls.__dict__.get(name)
            if not frozen:
                lines.append(f"_self.{name} = {given}")
            elif isinstance(slot, MemberDescriptorType):
                # Past what keeps it frozen, and without a look-up by name.
                space[f"_set{n}"] = slot.__set__
                lines.append(f"_set{n}(_self, {given})")
            else:
                space["_set"] = object.__setattr__
                lines.append(f"_set(_self, {name!r}, {given})")
        if hasattr(cls, "__post_init__"):
            lines.append("_self.__post_init__()")
        exec(f"def __init__({', '.join(['_self', *taken])}):\n " + "\n ".join(lines or ["pass"]), space)
        init = space["__init__"]
        init.__module__, init.__qualname__ = cls.__module__, f"{cls.__qualname__}.__init__"
        hints = {item.name: cls.__annotations__[item.name] for item in known if item.init}
        init.__annotations__ = {**hints, "return": None}
        return init

    class _Standard:
        """The fields as the standard library knows them, for its functions and for those that ask it."""

        def __init__(self, cls, known, frozen, eq):
            self.cls, self.known = cls, known
            self.options = {"frozen": frozen, "eq": eq}

        def __get__(self, obj, owner=None):
            import dataclasses

            cls = self.cls
            space = {"__annotations__": dict(cls.__annotations__), "__module__": cls.__module__}
            for item in self.known:
                more = {"init": item.init, "repr": item.repr, "compare": item.compare}
                if item.default is not _MISSING:
                    more["default"] = item.default
                if item.default_factory is not _MISSING:
                    more["default_factory"] = item.default_factory
                space[item.name] = dataclasses.field(**more)
            twin = dataclasses.dataclass(type(cls.__name__, (), space), **self.options)
            cls.__dataclass_params__ = twin.__dataclass_params__
            cls.__dataclass_fields__ = twin.__dataclass_fields__
            return twin.__dataclass_fields__
