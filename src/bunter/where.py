"""``where`` expressions: parsed with limits, evaluated on mappings, as SQL with placeholders, or on Arrow columns.

The grammar, in order of binding::

    expression  :=  expression "or" expression | expression "and" expression | "not" expression | "(" expression ")"
                 |  operand ("=" | "==" | "!=" | "<>" | "<" | "<=" | ">" | ">=") operand
                 |  operand ["not"] "in" "(" literal {"," literal} ")"
                 |  operand ["not"] "between" operand "and" operand
                 |  operand "is" ["not"] "null"
    operand     :=  key | integer | float | 'string' | "string"

Strings double their quote to hold it. Dates in ISO form compare as strings. As in SQL, a comparison with a value that
is not known (None) is neither true nor false.
"""

from __future__ import annotations

import operator
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, NoReturn, TypeAlias

from .errors import ParameterError
from .values import dataclass, field
from .words import did_you_mean, shown

Literal: TypeAlias = int | float | str
Column: TypeAlias = Callable[[str], str]

_LONGEST = 10_000
_DEEPEST = 50
_SHALLOW = 5
_MOST_COMPARISONS = 500
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![\w.])"
    r"|(?P<string>'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")"
    r"|(?P<word>[^\W\d]\w*)"
    r"|(?P<sign><=|>=|<>|!=|==|[=<>(),+-]))"
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARROW = {
    "=": "equal",
    "<>": "not_equal",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
}
_SPELLED = {"==": "=", "!=": "<>"}
_KEYWORDS = ("and", "or", "not", "in", "between", "is", "null")


@dataclass(frozen=True, slots=True)
class _Operand:
    """A key, or a literal (``key`` is None)."""

    key: str | None
    value: Literal | None
    position: int

    def of(self, values: Mapping[str, Any]) -> Any:
        return values.get(self.key) if self.key is not None else self.value

    def sql(self, column: Column, parameters: list[Literal]) -> str:
        if self.key is not None:
            return column(self.key)
        assert self.value is not None
        parameters.append(self.value)
        return "?"

    def arrow(self, columns: Any) -> Any:
        import pyarrow

        if self.key is not None:
            return columns[self.key]
        literal: Any = self.value
        return pyarrow.scalar(literal)

    def __str__(self) -> str:
        return self.key if self.key is not None else repr(self.value)


@dataclass(frozen=True, slots=True)
class _Compare:
    """``left sign right``."""

    left: _Operand
    sign: str
    right: _Operand

    @property
    def operands(self) -> tuple[_Operand, ...]:
        return (self.left, self.right)

    def evaluate(self, values: Mapping[str, Any]) -> bool | None:
        a, b = self.left.of(values), self.right.of(values)
        if a is None or b is None:
            return None
        return _COMPARE[self.sign](a, b)

    def sql(self, column: Column, parameters: list[Literal]) -> str:
        return f"{self.left.sql(column, parameters)} {self.sign} {self.right.sql(column, parameters)}"

    def arrow(self, columns: Any) -> Any:
        from pyarrow import compute

        return getattr(compute, _ARROW[self.sign])(self.left.arrow(columns), self.right.arrow(columns))


@dataclass(frozen=True, slots=True)
class _Among:
    """``left in (...)``."""

    left: _Operand
    choices: tuple[_Operand, ...]

    @property
    def operands(self) -> tuple[_Operand, ...]:
        return (self.left, *self.choices)

    def evaluate(self, values: Mapping[str, Any]) -> bool | None:
        a = self.left.of(values)
        return None if a is None else any(a == choice.value for choice in self.choices)

    def sql(self, column: Column, parameters: list[Literal]) -> str:
        left = self.left.sql(column, parameters)
        return f"{left} IN ({', '.join(choice.sql(column, parameters) for choice in self.choices)})"

    def arrow(self, columns: Any) -> Any:
        from pyarrow import compute

        left = self.left.arrow(columns)
        return reduce(compute.or_kleene, (compute.equal(left, choice.arrow(columns)) for choice in self.choices))


@dataclass(frozen=True, slots=True)
class _IsNull:
    """``left is null``."""

    left: _Operand

    @property
    def operands(self) -> tuple[_Operand, ...]:
        return (self.left,)

    def evaluate(self, values: Mapping[str, Any]) -> bool | None:
        return self.left.of(values) is None

    def sql(self, column: Column, parameters: list[Literal]) -> str:
        return f"{self.left.sql(column, parameters)} IS NULL"

    def arrow(self, columns: Any) -> Any:
        from pyarrow import compute

        # Columns of floats have no other word for a value that is missing.
        return compute.is_null(self.left.arrow(columns), nan_is_null=True)


@dataclass(frozen=True, slots=True)
class _Not:
    """``not term``."""

    term: _Node

    def evaluate(self, values: Mapping[str, Any]) -> bool | None:
        found = self.term.evaluate(values)
        return None if found is None else not found

    def sql(self, column: Column, parameters: list[Literal]) -> str:
        if isinstance(self.term, _Not):
            # The same, and SQLite's parser is only so deep.
            return self.term.term.sql(column, parameters)
        return f"NOT ({self.term.sql(column, parameters)})"

    def arrow(self, columns: Any) -> Any:
        from pyarrow import compute

        return compute.invert(self.term.arrow(columns))


@dataclass(frozen=True, slots=True)
class _All:
    """``term and term ...``."""

    terms: tuple[_Node, ...]

    def evaluate(self, values: Mapping[str, Any]) -> bool | None:
        found = [term.evaluate(values) for term in self.terms]
        return False if False in found else None if None in found else True

    def sql(self, column: Column, parameters: list[Literal]) -> str:
        return " AND ".join(f"({term.sql(column, parameters)})" for term in _deepest_first(self.terms))

    def arrow(self, columns: Any) -> Any:
        from pyarrow import compute

        return reduce(compute.and_kleene, (term.arrow(columns) for term in self.terms))


@dataclass(frozen=True, slots=True)
class _Any:
    """``term or term ...``."""

    terms: tuple[_Node, ...]

    def evaluate(self, values: Mapping[str, Any]) -> bool | None:
        found = [term.evaluate(values) for term in self.terms]
        return True if True in found else None if None in found else False

    def sql(self, column: Column, parameters: list[Literal]) -> str:
        pieces = []
        for term in _deepest_first(self.terms):
            text = term.sql(column, parameters)
            # AND binds closer; SQLite's parser is only so deep.
            pieces.append(text if isinstance(term, _All) else f"({text})")
        return " OR ".join(pieces)

    def arrow(self, columns: Any) -> Any:
        from pyarrow import compute

        return reduce(compute.or_kleene, (term.arrow(columns) for term in self.terms))


_Node: TypeAlias = _Compare | _Among | _IsNull | _Not | _All | _Any


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression.

    Attributes
    ----------
    text : str
        The expression as it was written.
    names : frozenset of str
        The keys that it mentions; whoever knows the keys reports those that do not exist.
    """

    text: str
    names: frozenset[str]
    _root: _Node = field(repr=False)
    _groups: tuple[tuple[_Operand, ...], ...] = field(repr=False)

    def check(self, kinds: Mapping[str, str]) -> None:
        """Refuse comparisons of strings with numbers, given the types of keys (``"int"``, ``"str"``, ``"float"``).

        Keys that `kinds` does not know are taken to fit.

        Raises
        ------
        ParameterError
            Naming the two, with their place in the expression.
        """
        for first, *others in self._groups:
            for other in others:
                a, b = _kind(first, kinds), _kind(other, kinds)
                if a is not None and b is not None and a != b:
                    _fail(self.text, other.position, f"{first} is a {a} and {other} is a {b}; they cannot be compared")

    def evaluate(self, values: Mapping[str, Any]) -> bool:
        """Tell whether the expression is true of `values`; a key that is absent or None is not known.

        Raises
        ------
        ParameterError
            If a string would be compared with a number.
        """
        kinds = {name: _kind_of(values[name]) for name in self.names if values.get(name) is not None}
        self.check(kinds)
        return self._root.evaluate(values) is True

    def to_sql(self, column: Column) -> tuple[str, list[Literal]]:
        """Return the expression as SQL with ``?`` placeholders, and the values for them.

        Parameters
        ----------
        column : callable
            Returns the SQL for a key (a quoted column); nothing else of the expression's text reaches the SQL.
        """
        parameters: list[Literal] = []
        return self._root.sql(column, parameters), parameters

    def mask(self, columns: Any) -> Any:
        """Return what the expression is in each row of Arrow columns: true, false, or null where it is not known.

        Parameters
        ----------
        columns : pyarrow.Table or mapping of str to pyarrow.ChunkedArray
            The columns by name.
        """
        return self._root.arrow(columns)

    def excludes(self, values: Mapping[str, Any]) -> bool:
        """Tell whether nothing that agrees with `values` can meet the expression, whatever the other keys are."""
        self.check({name: _kind_of(value) for name, value in values.items()})
        terms = self._root.terms if isinstance(self._root, _All) else (self._root,)
        return any(term.evaluate(values) is not True for term in terms if _names(term) <= set(values))

    def __str__(self) -> str:
        return self.text


def _names(node: _Node) -> set[str]:
    if isinstance(node, _Not):
        return _names(node.term)
    if isinstance(node, _All | _Any):
        return {name for term in node.terms for name in _names(term)}
    operands = (node.left,) if isinstance(node, _IsNull) else node.operands
    return {operand.key for operand in operands if operand.key is not None}


def _height(node: _Node) -> int:
    if isinstance(node, _Not):
        return 1 + _height(node.term)
    return 1 + max(map(_height, node.terms)) if isinstance(node, _All | _Any) else 0


def _deepest_first(terms: tuple[_Node, ...]) -> tuple[_Node, ...]:
    # What stands before a bracket waits on the stack of SQLite's parser, which holds a hundred words.
    deepest = max(range(len(terms)), key=lambda i: _height(terms[i]))
    if _height(terms[deepest]) < _SHALLOW:
        return terms
    return (terms[deepest], *terms[:deepest], *terms[deepest + 1 :])


def parse(text: str) -> Expression:
    """Parse an expression.

    Raises
    ------
    ParameterError
        If it cannot be read, is longer than 10,000 characters, nested more than 50 deep or holds more than 500
        comparisons; the message shows where.

    Examples
    --------
    >>> e = parse("tract = 0 and filter in ('g', 'r')")
    >>> sorted(e.names), e.evaluate({"tract": 0, "filter": "g"})
    (['filter', 'tract'], True)
    >>> e.to_sql(lambda key: f'd."{key}"')
    ('(d."tract" = ?) AND (d."filter" IN (?, ?))', [0, 'g', 'r'])
    """
    if not isinstance(text, str):
        raise ParameterError(f"a where expression is a string, not {type(text).__name__}: {shown(text)}")
    text = str.__str__(text)
    if len(text) > _LONGEST:
        raise ParameterError(f"a where expression has at most {_LONGEST} characters; this one has {len(text)}")
    return _Parser(text).parse()


def _kind(operand: _Operand, kinds: Mapping[str, str]) -> str | None:
    if operand.key is None:
        return _kind_of(operand.value)
    kind = kinds.get(operand.key)
    return "number" if kind in ("int", "float", "number") else kind


def _kind_of(value: object) -> str:
    return "str" if isinstance(value, str) else "number"


def _fail(text: str, position: int, what: str) -> NoReturn:
    start = max(0, position - 60)
    line = re.sub(r"\s", " ", text[start : position + 60])
    raise ParameterError(f"where expression, character {position + 1}: {what}\n  {line}\n  {' ' * (position - start)}^")


@dataclass(frozen=True, slots=True)
class _Token:
    """One token: its kind (number, string, word, sign, end), its text and where it begins."""

    kind: str
    text: str
    position: int

    @property
    def word(self) -> str:
        return self.text.lower() if self.kind in ("word", "sign") else ""


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = self._tokenize(text)
        self.at = 0
        self.depth = 0
        self.comparisons = 0
        self.groups: list[tuple[_Operand, ...]] = []

    def parse(self) -> Expression:
        root = self._any()
        if self.token.kind != "end":
            self._unexpected("'and', 'or' or the end")
        names = frozenset(o.key for group in self.groups for o in group if o.key is not None)
        return Expression(self.text, names, root, tuple(self.groups))

    @staticmethod
    def _tokenize(text: str) -> list[_Token]:
        tokens = []
        position, end = 0, len(text.rstrip())
        while position < end:
            found = _TOKEN.match(text, position)
            if found is None:
                start = position + len(text[position:]) - len(text[position:].lstrip())
                if text[start] in "'\"":
                    _fail(text, start, "this string is not closed")
                _fail(text, start, f"{text[start]!r} cannot stand here")
            assert found.lastgroup is not None
            tokens.append(_Token(found.lastgroup, found[found.lastgroup], found.start(found.lastgroup)))
            position = found.end()
        tokens.append(_Token("end", "", end))
        return tokens

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def _take(self, *words: str) -> bool:
        """Step over the words if they are what comes next."""
        if [t.word for t in self.tokens[self.at : self.at + len(words)]] != list(words):
            return False
        self.at += len(words)
        return True

    def _need(self, word: str) -> None:
        if not self._take(word):
            self._unexpected(repr(word))

    def _unexpected(self, wanted: str) -> NoReturn:
        token = self.token
        found = repr(token.text) if token.text else "the end"
        near = did_you_mean(token.text, _KEYWORDS) if token.kind == "word" and token.word not in _KEYWORDS else ""
        _fail(self.text, token.position, f"expected {wanted}, found {found}{near}")

    def _any(self) -> _Node:
        terms = [self._all()]
        while self._take("or"):
            terms.append(self._all())
        return terms[0] if len(terms) == 1 else _Any(tuple(terms))

    def _all(self) -> _Node:
        terms = [self._term()]
        while self._take("and"):
            terms.append(self._term())
        return terms[0] if len(terms) == 1 else _All(tuple(terms))

    def _term(self) -> _Node:
        self.depth += 1
        if self.depth > _DEEPEST:
            _fail(self.text, self.token.position, f"nested more than {_DEEPEST} deep")
        node: _Node
        if self._take("not"):
            node = _Not(self._term())
        elif self._take("("):
            node = self._any()
            self._need(")")
        else:
            node = self._comparison()
        self.depth -= 1
        return node

    def _comparison(self) -> _Node:
        self.comparisons += 1
        if self.comparisons > _MOST_COMPARISONS:
            _fail(self.text, self.token.position, f"more than {_MOST_COMPARISONS} comparisons")
        left = self._operand()
        sign = _SPELLED.get(self.token.text, self.token.text)
        if self.token.kind == "sign" and sign in _COMPARE:
            self.at += 1
            return self._noted(_Compare(left, sign, self._operand()))
        if self._take("is", "not", "null"):
            return _Not(self._noted(_IsNull(left)))
        if self._take("is", "null"):
            return self._noted(_IsNull(left))
        negated = self._take("not")
        node: _Node
        if self._take("in"):
            node = self._noted(_Among(left, self._choices()))
        elif self._take("between"):
            low = self._operand()
            self._need("and")
            high = self._operand()
            node = _All((self._noted(_Compare(left, ">=", low)), self._noted(_Compare(left, "<=", high))))
        elif negated:
            self._unexpected("'in' or 'between'")
        else:
            self._unexpected(f"a comparison ('=', '<', 'in', 'between', 'is null') after {left}")
        return _Not(node) if negated else node

    def _noted(self, node: _Compare | _Among | _IsNull) -> _Compare | _Among | _IsNull:
        self.groups.append(node.operands)
        return node

    def _choices(self) -> tuple[_Operand, ...]:
        self._need("(")
        choices = [self._literal()]
        while self._take(","):
            choices.append(self._literal())
        self._need(")")
        return tuple(choices)

    def _literal(self) -> _Operand:
        if self.token.kind == "word":
            self._unexpected("a number or a quoted string")
        return self._operand()

    def _operand(self) -> _Operand:
        token = self.token
        if token.word in ("+", "-"):
            self.at += 1
            if self.token.kind != "number":
                self._unexpected("a number")
            return self._number(token.position, -1 if token.word == "-" else 1)
        if token.kind == "number":
            return self._number(token.position, 1)
        if token.kind == "string":
            self.at += 1
            quote = token.text[0]
            value = unicodedata.normalize("NFC", token.text[1:-1].replace(quote * 2, quote))
            if any(unicodedata.category(c) in ("Cc", "Cs") for c in value):
                _fail(self.text, token.position, "the string holds a control character or a surrogate")
            return _Operand(None, value, token.position)
        if token.kind != "word" or token.word in _KEYWORDS:
            hint = " ('null' stands only in 'is null')" if token.word == "null" else ""
            self._unexpected(f"a key, a number or a quoted string{hint}")
        self.at += 1
        return _Operand(token.text, None, token.position)

    def _number(self, position: int, sign: int) -> _Operand:
        text = self.token.text
        self.at += 1
        value: int | float
        if text.isdigit():
            value = sign * int(text) if len(text) < 30 else 2**64
            if not -(2**63) <= value < 2**63:
                _fail(self.text, position, "an integer has at most 64 bits")
        else:
            value = sign * float(text)
            if value - value != 0.0:
                _fail(self.text, position, "the number is too large")
        return _Operand(None, value, position)
