"""Dataset names: ``type[:stage][.component]...``, also spelled ``type.component[:stage]``."""

from __future__ import annotations

import re
from functools import lru_cache

from .errors import DatasetNameError
from .values import dataclass, replace
from .words import shown

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*\Z")
_STAGE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_+\-]*\Z")
_LONGEST = 200
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class DatasetName:
    """A parsed dataset name.

    Attributes
    ----------
    type : str
        The dataset type without stage.
    stage : str or None
        The stage; ``""`` if the name ends its type with a bare colon (``"calexp:"``: the type
        without stage, whatever an alias says), None if the name says nothing of a stage.
    component : tuple of str
        The components, outermost first.
    """

    type: str
    stage: str | None = None
    component: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str | DatasetName) -> DatasetName:
        """Read a name in either spelling.

        Raises
        ------
        DatasetNameError
            If `text` is not a dataset name.

        Examples
        --------
        >>> DatasetName.parse("calexp.wcs: jointcal")
        DatasetName(type='calexp', stage='jointcal', component=('wcs',))
        >>> str(DatasetName.parse("calexp.wcs:jointcal"))
        'calexp:jointcal.wcs'
        """
        if isinstance(text, DatasetName):
            return text
        if not isinstance(text, str):
            raise DatasetNameError(f"a dataset name is a string, not {type(text).__name__}: {shown(text)}")
        # A subclass may say that it is another string: its own characters count.
        return _parse(str.__str__(text))

    @property
    def definition(self) -> str:
        """The name under which the type itself is defined: ``type`` or ``type:stage``."""
        return f"{self.type}:{self.stage}" if self.stage else self.type

    def with_stage(self, stage: str | None) -> DatasetName:
        """Return this name with another stage."""
        return replace(self, stage=stage)

    def with_component(self, component: tuple[str, ...]) -> DatasetName:
        """Return this name with other components."""
        return replace(self, component=component)

    def __str__(self) -> str:
        return ".".join((self.definition, *self.component))


@lru_cache(maxsize=4096)
def _parse(text: str) -> DatasetName:
    if len(text) > _LONGEST:
        raise DatasetNameError(f"a dataset name has at most {_LONGEST} characters; this one has {len(text)}")
    left, colon, right = text.partition(":")
    if ":" in right:
        raise DatasetNameError(f"{text!r} names more than one stage; write type:stage.component")
    type_, *component = left.strip().split(".")
    stage: str | None = None
    if colon:
        if right.strip() == "":
            stage = ""
        else:
            stage, *more = right.strip().split(".")
            component += more
    for word in (type_, *component):
        if not _WORD.match(word):
            raise DatasetNameError(
                f"{text!r} is not a dataset name: {word!r} is not a word of letters, digits, '_' and '-' "
                "that starts with a letter; write type:stage.component, for example 'calexp:jointcal.wcs'"
            )
    if stage and not _STAGE.match(stage):
        raise DatasetNameError(
            f"{text!r} is not a dataset name: {stage!r} is not a stage (letters, digits, '_', '+', '-')"
        )
    if len(component) > _DEEPEST:
        raise DatasetNameError(f"{text!r} names components more than {_DEEPEST} deep")
    return DatasetName(type_, stage, tuple(component))


def same_component(a: str, b: str) -> bool:
    """Tell whether two component names are one name in two spellings (``photoCalib``, ``photo_calib``).

    Examples
    --------
    >>> same_component("photoCalib", "photo_calib")
    True
    """
    return a == b or plain_component(a) == plain_component(b)


@lru_cache(maxsize=4096)
def plain_component(name: str) -> str:
    """Return the spelling-free form of a component name: lower case, no underscores."""
    return name.replace("_", "").lower()


def snake(name: str) -> str:
    """Return ``photo_calib`` for ``photoCalib``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def camel(name: str) -> str:
    """Return ``photoCalib`` for ``photo_calib``."""
    head, *rest = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)
