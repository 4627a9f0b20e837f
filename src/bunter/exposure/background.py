"""Backgrounds: lists of smooth layers that are added up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..errors import FormatError
from ..words import did_you_mean, listing
from .values import Frozen, State, frozen_array, number, restored, set_fields, whole

_KINDS: dict[str, type[Layer]] = {}


class Layer(Frozen):
    """A smooth function over the full frame. Frozen, equal by value.

    A class of your own derives from it, has a `kind`, `at`, `state` (what the constructor takes, and the kind)
    and may override `image`.
    """

    kind: ClassVar[str]
    """The word under which the layer is stored."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        _KINDS[cls.kind] = cls

    def at(self, x: npt.ArrayLike, y: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the values at zero-based pixel positions of the full frame (arrays that broadcast)."""
        raise NotImplementedError

    def image(self, shape: tuple[int, int], origin: tuple[int, int] = (0, 0)) -> npt.NDArray[np.float64]:
        """Return the values of all pixels of an image of `shape` (ny, nx) whose first pixel is `origin` (y0, x0)."""
        (ny, nx), (y0, x0) = shape, origin
        return self.at(np.arange(x0, x0 + nx)[None, :], np.arange(y0, y0 + ny)[:, None])

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> Layer:
        """Make a layer of what `to_dict` or `state` returned.

        Raises
        ------
        FormatError
            If its kind is unknown.
        """
        rest = dict(fields)
        kind = str(rest.pop("kind", ""))
        if kind not in _KINDS:
            raise FormatError(f"unknown kind of layer {kind!r}{did_you_mean(kind, _KINDS)}; there is {listing(_KINDS)}")
        try:
            return _KINDS[kind](**rest)
        except TypeError as error:
            raise FormatError(f"a layer of kind {kind!r} cannot be made of {listing(rest)}: {error}") from error

    def __reduce__(self) -> tuple[Any, ...]:
        return restored, (type(self), self.state())


class SplineLayer(Layer):
    """An interpolating spline through values on a grid; constant beyond the outermost nodes.

    The same function as `scipy.interpolate.RectBivariateSpline` with ``s=0``.

    Parameters
    ----------
    values : array, shape (ny, nx)
        The values at the nodes.
    x_nodes, y_nodes : array, shapes (nx,) and (ny,)
        Ascending zero-based pixel positions in the full frame; more than `order` of them.
    order : int
        Degree of the spline, 1 to 5.

    Examples
    --------
    >>> SplineLayer([[0.0, 2.0], [4.0, 6.0]], x_nodes=[0, 2], y_nodes=[0, 2], order=1).image((2, 3))
    array([[0., 1., 2.],
           [2., 3., 4.]])
    """

    kind = "spline"

    values: npt.NDArray[np.float64]
    x_nodes: npt.NDArray[np.float64]
    y_nodes: npt.NDArray[np.float64]
    order: int

    def __init__(self, values: npt.ArrayLike, x_nodes: npt.ArrayLike, y_nodes: npt.ArrayLike, order: int = 3) -> None:
        grid, degree = frozen_array(values, "values", 2), whole(order, "order")
        if not 1 <= degree <= 5:
            raise ValueError(f"order: the degree of a spline is 1 to 5, not {degree}")
        nodes = {"y_nodes": frozen_array(y_nodes, "y_nodes", 1), "x_nodes": frozen_array(x_nodes, "x_nodes", 1)}
        for axis, (name, points) in enumerate(nodes.items()):
            if points.size != grid.shape[axis]:
                raise ValueError(f"{name}: {points.size} positions for values of shape {grid.shape} (ny, nx)")
            if points.size <= degree:
                raise ValueError(
                    f"{name}: a spline of order {degree} needs more than {degree} nodes, not {points.size}"
                )
            if not np.all(np.diff(points) > 0):
                raise ValueError(f"{name}: the positions must ascend")
        if not np.all(np.isfinite(grid)):
            raise ValueError("values: a spline needs finite values")
        set_fields(self, values=grid, order=degree, **nodes)

    @cached_property
    def _spline(self) -> Any:
        from scipy.interpolate import RectBivariateSpline

        return RectBivariateSpline(self.x_nodes, self.y_nodes, self.values.T, kx=self.order, ky=self.order, s=0)

    def at(self, x: npt.ArrayLike, y: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the values at zero-based pixel positions of the full frame (arrays that broadcast)."""
        return np.asarray(self._spline.ev(*np.broadcast_arrays(x, y)))

    def image(self, shape: tuple[int, int], origin: tuple[int, int] = (0, 0)) -> npt.NDArray[np.float64]:
        """Return the values of all pixels of an image of `shape` (ny, nx) whose first pixel is `origin` (y0, x0)."""
        (ny, nx), (y0, x0) = shape, origin
        return np.ascontiguousarray(self._spline(np.arange(x0, x0 + nx), np.arange(y0, y0 + ny)).T)

    def state(self) -> State:
        """Return what the constructor takes, and the kind."""
        return {
            "kind": self.kind,
            "values": self.values,
            "x_nodes": self.x_nodes,
            "y_nodes": self.y_nodes,
            "order": self.order,
        }

    def __repr__(self) -> str:
        return f"<SplineLayer {self.values.shape[0]} x {self.values.shape[1]}, order {self.order}>"


class ChebyshevLayer(Layer):
    """A sum of products of Chebyshev polynomials of the first kind.

    Parameters
    ----------
    coefficients : array, shape (n, m)
        ``coefficients[i, j]`` goes with T_i(y) T_j(x), x and y scaled from the domain to -1 ... 1.
    domain : (int, int) or ((float, float), (float, float))
        The shape (ny, nx) of the full frame, or the first and last zero-based pixel positions
        ``((y first, y last), (x first, x last))``.

    Examples
    --------
    >>> ChebyshevLayer([[10.0, 1.0]], domain=(3, 3)).image((1, 3))
    array([[ 9., 10., 11.]])
    """

    kind = "chebyshev"

    coefficients: npt.NDArray[np.float64]
    domain: tuple[tuple[float, float], tuple[float, float]]

    def __init__(self, coefficients: npt.ArrayLike, domain: Any) -> None:
        terms = frozen_array(coefficients, "coefficients", 2)
        if not terms.size:
            raise ValueError(f"coefficients: at least one is needed, not shape {terms.shape}")
        if np.shape(domain) == (2,):
            domain = tuple((0.0, number(n, "domain") - 1.0) for n in domain)
        elif np.shape(domain) != (2, 2):
            raise ValueError(
                f"domain: (ny, nx) or ((y first, y last), (x first, x last)) is needed, not {domain!r:.60}"
            )
        ranges = tuple((number(low, "domain"), number(high, "domain")) for low, high in domain)
        for low, high in ranges:
            if not low <= high:
                raise ValueError(f"domain: a range must ascend, not {low} to {high}")
        set_fields(self, coefficients=terms, domain=ranges)

    def _scaled(self, positions: npt.ArrayLike, axis: int) -> npt.NDArray[np.float64]:
        low, high = self.domain[axis]
        # A frame one pixel wide has no slope.
        return (2.0 * np.asarray(positions, dtype=np.float64) - (low + high)) / ((high - low) or 1.0)

    def at(self, x: npt.ArrayLike, y: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the values at zero-based pixel positions of the full frame (arrays that broadcast)."""
        from numpy.polynomial.chebyshev import chebval2d

        across, along = np.broadcast_arrays(self._scaled(y, 0), self._scaled(x, 1))
        return np.asarray(chebval2d(across, along, self.coefficients))

    def image(self, shape: tuple[int, int], origin: tuple[int, int] = (0, 0)) -> npt.NDArray[np.float64]:
        """Return the values of all pixels of an image of `shape` (ny, nx) whose first pixel is `origin` (y0, x0)."""
        from numpy.polynomial.chebyshev import chebgrid2d

        (ny, nx), (y0, x0) = shape, origin
        y, x = self._scaled(np.arange(y0, y0 + ny), 0), self._scaled(np.arange(x0, x0 + nx), 1)
        return np.asarray(chebgrid2d(y, x, self.coefficients))

    def state(self) -> State:
        """Return what the constructor takes, and the kind."""
        return {"kind": self.kind, "coefficients": self.coefficients, "domain": np.array(self.domain)}

    def __repr__(self) -> str:
        return f"<ChebyshevLayer {self.coefficients.shape[0]} x {self.coefficients.shape[1]}>"


class Background(Frozen):
    """A list of layers that are added up. Frozen, equal by value; ``background + layer`` makes a longer one.

    Parameters
    ----------
    layers : iterable of Layer
        The layers, in the order in which they were fitted.

    Examples
    --------
    >>> background = Background() + ChebyshevLayer([[100.0]], domain=(4, 4))
    >>> background += ChebyshevLayer([[2.5]], domain=(4, 4))
    >>> len(background), background.image((1, 2)).tolist()
    (2, [[102.5, 102.5]])
    """

    __slots__ = ("layers",)

    layers: tuple[Layer, ...]

    def __init__(self, layers: Iterable[Layer] = ()) -> None:
        given = tuple(layers)
        for layer in given:
            if not isinstance(layer, Layer):
                raise TypeError(f"layers: a SplineLayer or ChebyshevLayer is needed, not {type(layer).__name__}")
        set_fields(self, layers=given)

    @classmethod
    def from_splinesky(
        cls,
        gridvals: npt.ArrayLike,
        xgrid: npt.ArrayLike,
        ygrid: npt.ArrayLike,
        order: int = 3,
        x0: int = 0,
        y0: int = 0,
    ) -> Background:
        """Make a background of a row of a ``splinesky`` file of the DESI Legacy Imaging Surveys.

        Parameters
        ----------
        gridvals : array, shape (ny, nx)
            The sky at the nodes.
        xgrid, ygrid : array
            Zero-based pixel positions of the nodes.
        order : int
            Degree of the spline.
        x0, y0 : int
            Where pixel (0, 0) of the image lies on the grid.
        """
        x = np.asarray(xgrid, dtype=np.float64) - whole(x0, "x0")
        y = np.asarray(ygrid, dtype=np.float64) - whole(y0, "y0")
        return cls([SplineLayer(gridvals, x, y, whole(order, "order"))])

    def image(self, shape: tuple[int, int], origin: tuple[int, int] = (0, 0)) -> npt.NDArray[np.float64]:
        """Return the background of an image.

        Parameters
        ----------
        shape : (int, int)
            ``(ny, nx)``.
        origin : (int, int)
            ``(y0, x0)``: where its first pixel lies in the full frame.

        Returns
        -------
        numpy.ndarray
            The sum of the layers, float64, shape (ny, nx); zeros if there are none.
        """
        total = np.zeros(shape)
        for layer in self.layers:
            total += layer.image(shape, origin)
        return total

    def __add__(self, other: object) -> Background:
        if isinstance(other, Background):
            return Background(self.layers + other.layers)
        if isinstance(other, Layer):
            return Background((*self.layers, other))
        return NotImplemented

    def __len__(self) -> int:
        return len(self.layers)

    def __bool__(self) -> bool:
        # A background without layers is a background all the same.
        return True

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, index: int) -> Layer:
        return self.layers[index]

    def state(self) -> State:
        """Return the states of the layers."""
        return {"layers": [layer.state() for layer in self.layers]}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Background:
        """Make a background of what `to_dict` or `state` returned.

        Raises
        ------
        FormatError
            If it does not have the one field ``layers``, or a layer is of an unknown kind.
        """
        if set(fields) != {"layers"}:
            raise FormatError(f"a Background has the one field 'layers'; there is {listing(fields)}")
        return cls(Layer.from_dict(layer) for layer in fields["layers"])

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_dict, (self.state(),)

    def __repr__(self) -> str:
        return f"Background([{', '.join(map(repr, self.layers))}])"
