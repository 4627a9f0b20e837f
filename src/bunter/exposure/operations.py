"""Operations on the planes of an exposure: backgrounds subtracted and added, planes of the mask merged.

They are named by policies, as ``derived`` components that take the place of the component that they are made from:

.. code-block:: yaml

    coadd:detected:
      base: coadd
      composite:
        background: coadd.background:detected
        DETECTED: coadd.DETECTED:detected
      derived:
        image: {from: [image, background], with: bunter.exposure.subtract_background}
        mask: {from: [mask, DETECTED], with: bunter.exposure.merge_planes}

In ``from`` comes first what is stored, then what is done to it. An input that is absent (None) does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..components import match_component
from ..errors import AssemblyError
from ..words import listing

if TYPE_CHECKING:
    from .mask import Mask

_Function: TypeAlias = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]
_Undo: TypeAlias = Callable[[Mapping[str, Any], Any, Mapping[str, Any]], dict[str, Any]]


def _undone_by(undo: _Undo) -> Callable[[_Function], _Function]:
    def mark(function: _Function) -> _Function:
        function.undo = undo  # type: ignore[attr-defined]
        return function

    return mark


def _split(inputs: Mapping[str, Any], what: str) -> tuple[str, list[tuple[str, Any]]]:
    """Return the name of what is stored, and what is done to it."""
    names = list(inputs)
    if len(names) < 2:
        raise AssemblyError(f"{what}: 'from' names what is stored and what is done to it; found {listing(names)}")
    return names[0], [(name, inputs[name]) for name in names[1:]]


def _sky(backgrounds: list[tuple[str, Any]], image: npt.NDArray[Any], origin: tuple[int, int]) -> npt.NDArray[Any]:
    sky = np.zeros(image.shape)
    for name, background in backgrounds:
        if background is None:
            continue
        if not hasattr(background, "image"):
            raise AssemblyError(f"{name!r}: a Background is needed, not a {type(background).__name__}")
        sky += background.image(image.shape, origin)
    return sky


def _shifted(
    inputs: Mapping[str, Any], what: str, sign: int, image: npt.NDArray[Any] | None = None
) -> npt.NDArray[Any] | None:
    """Return an image with backgrounds added (`sign` 1) or subtracted (-1), in the image's own type."""
    own, backgrounds = _split(inputs, what)
    image = inputs[own] if image is None else image
    if image is None:
        return None
    sky = _sky(backgrounds, image, getattr(inputs, "origin", (0, 0)))
    # As ``image -= sky`` does: worked out in float64 and rounded once.
    return np.asarray((image + sign * sky).astype(image.dtype))


def _undo_subtract(dataId: Mapping[str, Any], value: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    own, _ = _split(inputs, "subtract_background")
    return {own: _shifted(inputs, "subtract_background", 1, value)}


def _undo_add(dataId: Mapping[str, Any], value: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    own, _ = _split(inputs, "add_background")
    return {own: _shifted(inputs, "add_background", -1, value)}


@_undone_by(_undo_subtract)
def subtract_background(dataId: Mapping[str, Any], inputs: Mapping[str, Any]) -> npt.NDArray[Any] | None:
    """Subtract backgrounds from an image.

    ``derived: {image: {from: [image, background], with: bunter.exposure.subtract_background}}``

    The difference is worked out in float64 and rounded once to the image's own type, as ``image -= background`` does,
    so that what is read is bit for bit what was put. Where the image itself has to be written, the backgrounds are
    added again, and it is restored as well as its type can hold it.

    Parameters
    ----------
    dataId : mapping
        Not used.
    inputs : mapping
        First the image, shape (ny, nx); then any number of `Background`, in the image's unit. Its attribute `origin`,
        if there is one, says where the image lies in the full frame.

    Returns
    -------
    numpy.ndarray
        A new image of the same type.

    Examples
    --------
    >>> from bunter import Background, ChebyshevLayer
    >>> sky = Background([ChebyshevLayer([[5.0]], domain=(1, 2))])
    >>> subtract_background({}, {"image": np.array([[6.0, 7.0]], "f4"), "background": sky})
    array([[1., 2.]], dtype=float32)
    """
    return _shifted(inputs, "subtract_background", -1)


@_undone_by(_undo_add)
def add_background(dataId: Mapping[str, Any], inputs: Mapping[str, Any]) -> npt.NDArray[Any] | None:
    """Add backgrounds to an image: the other way round than `subtract_background`.

    ``derived: {image: {from: [image, background], with: bunter.exposure.add_background}}``
    """
    return _shifted(inputs, "add_background", 1)


def exchange_background(dataId: Mapping[str, Any], inputs: Mapping[str, Any]) -> npt.NDArray[Any] | None:
    """Restore the background that was subtracted from an image before, and subtract another.

    ``derived: {image: {from: [image, old_background, background], with: bunter.exposure.exchange_background}}``

    Parameters
    ----------
    dataId : mapping
        Not used.
    inputs : mapping
        The image, shape (ny, nx), the `Background` that was subtracted from it, and the one that is to be.

    Returns
    -------
    numpy.ndarray
        A new image of the same type.
    """
    own, backgrounds = _split(inputs, "exchange_background")
    if len(backgrounds) != 2:
        raise AssemblyError(
            f"exchange_background: 'from' names the image, the old background and the new one; found {listing(inputs)}"
        )
    image = inputs[own]
    if image is None:
        return None
    origin = getattr(inputs, "origin", (0, 0))
    sky = _sky(backgrounds[1:], image, origin) - _sky(backgrounds[:1], image, origin)
    return np.asarray((image - sky).astype(image.dtype))


def _take_planes_out(dataId: Mapping[str, Any], value: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    from .mask import Mask

    own, planes = _split(inputs, "merge_planes")
    if not isinstance(value, Mask):
        raise AssemblyError(f"merge_planes: {own!r} is a {type(value).__name__}; planes are taken out of a Mask")
    found: dict[str, Any] = {}
    taken = []
    for component, _ in planes:
        name = match_component(component, value.bits)
        if name is not None:
            taken.append(name)
            found[component] = single_plane(value, name)
    left = {name: bit for name, bit in value.bits.items() if name not in taken}
    array = value.array & ~value.dtype.type(sum(1 << value.bits[name] for name in taken))
    return {own: Mask(array, left), **found}


@_undone_by(_take_planes_out)
def merge_planes(dataId: Mapping[str, Any], inputs: Mapping[str, Any]) -> Mask | None:
    """Merge planes that are components of their own into a mask.

    ``derived: {mask: {from: [mask, DETECTED], with: bunter.exposure.merge_planes}}``

    A component named ``DETECTED`` is the plane ``DETECTED`` of the mask. It takes the place of a plane of that name in
    the stored mask: pixels that are not set in it are cleared. A new plane keeps the number of its bit if that is
    free, else it gets the lowest that is. At put the plane is taken out of the object's mask.

    Parameters
    ----------
    dataId : mapping
        Not used.
    inputs : mapping
        First the mask, then the planes: a `Mask` with one plane (which is what is written), or booleans of shape
        (ny, nx). A mask that is absent counts as one without planes.

    Returns
    -------
    Mask
        A new mask.

    Raises
    ------
    AssemblyError
        If a plane is neither, or of another shape than the mask.

    Examples
    --------
    >>> from bunter import Mask
    >>> mask = Mask(np.array([[1, 0]]), {"BAD": 0})
    >>> merged = merge_planes({}, {"mask": mask, "DETECTED": np.array([[True, True]])})
    >>> merged.array, dict(merged.bits)
    (array([[3, 2]]), {'BAD': 0, 'DETECTED': 1})
    """
    from .mask import Mask

    own, planes = _split(inputs, "merge_planes")
    mask = inputs[own]
    if mask is not None and not isinstance(mask, Mask):
        raise AssemblyError(f"merge_planes: {own!r} is a {type(mask).__name__}; planes are merged into a Mask")
    merged = None if mask is None else mask.copy()
    for component, value in planes:
        if value is None:
            continue
        if merged is None:
            merged = Mask(np.zeros(value.shape, "u1"))
        plane = _checked(component, value, merged.shape)
        name = match_component(component, merged.bits)
        if name is not None:
            merged.set_plane(name, plane.plane(next(iter(plane.bits))))
        else:
            merged = merged | plane
    return merged


def _checked(component: str, value: Any, shape: tuple[int, int]) -> Mask:
    """Return a plane as a mask of its own."""
    from .mask import Mask

    if isinstance(value, Mask):
        name = match_component(component, value.bits)
        if name is None:
            raise AssemblyError(f"merge_planes: {component!r} holds no such plane, but {listing(value.bits)}")
        plane = value if len(value.bits) == 1 else single_plane(value, name)
    elif isinstance(value, np.ndarray) and value.dtype.kind == "b":
        plane = Mask.from_planes({component: value})
    else:
        raise AssemblyError(f"merge_planes: {component!r}: a Mask or booleans are needed, not {_kind(value)}")
    if plane.shape != shape:
        raise AssemblyError(f"merge_planes: {component!r} has the shape {plane.shape}, the mask {shape}")
    return plane


def _kind(value: Any) -> str:
    return f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"


def single_plane(mask: Mask, name: str) -> Mask:
    """Return one plane of a mask as a mask of its own, in the smallest type that has its bit."""
    from .mask import Mask

    bit = mask.bits[name]
    kind = next(np.dtype(kind) for kind, planes in (("u1", 8), ("u2", 16), ("u4", 32), ("i8", 63)) if bit < planes)
    return Mask(np.where(mask.plane(name), kind.type(1 << bit), kind.type(0)), {name: bit})
