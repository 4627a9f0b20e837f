"""Backgrounds."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.interpolate import RectBivariateSpline

from bunter.errors import FormatError
from bunter.exposure import Background, ChebyshevLayer, SplineLayer

RNG = np.random.default_rng(6)
SPLINE = SplineLayer(RNG.normal(size=(6, 5)), x_nodes=[0, 10, 20, 35, 40], y_nodes=[0, 5, 10, 15, 20, 30])
CHEBYSHEV = ChebyshevLayer(RNG.normal(size=(3, 4)), domain=(30, 40))


@pytest.mark.parametrize("layer", [SPLINE, CHEBYSHEV])
def test_layers_are_values(layer: SplineLayer | ChebyshevLayer) -> None:
    background = Background([layer])
    dumped = json.loads(json.dumps(background.to_dict()))
    for again in (
        pickle.loads(pickle.dumps(background)),
        Background.from_dict(dumped),
        Background.from_dict(background.state()),
        copy.deepcopy(background),
    ):
        assert again == background
        np.testing.assert_array_equal(again.image((3, 4)), background.image((3, 4)))
    assert background != Background()
    assert background != Background([layer, layer])
    with pytest.raises(AttributeError, match="cannot be changed"):
        layer.values = 1  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="read-only"):
        next(v for v in layer.state().values() if isinstance(v, np.ndarray) and v.ndim == 2 and v is not layer)[
            0, 0
        ] = 1


@pytest.mark.parametrize("layer", [SPLINE, CHEBYSHEV])
def test_origin_and_positions_agree_with_the_whole_image(layer: SplineLayer | ChebyshevLayer) -> None:
    whole = layer.image((30, 40))
    np.testing.assert_allclose(layer.image((7, 9), origin=(11, 13)), whole[11:18, 13:22], rtol=1e-12)
    np.testing.assert_allclose(layer.at([3, 5], [20, 21]), [whole[20, 3], whole[21, 5]], rtol=1e-12)
    assert layer.at(2.5, 3.5).shape == ()


def test_spline_goes_through_its_values_and_is_scipys() -> None:
    x, y = np.meshgrid(SPLINE.x_nodes, SPLINE.y_nodes)
    np.testing.assert_allclose(SPLINE.at(x, y), SPLINE.values, atol=1e-12)
    reference = RectBivariateSpline(SPLINE.x_nodes, SPLINE.y_nodes, SPLINE.values.T)
    np.testing.assert_array_equal(SPLINE.image((8, 9), (-2, -3)), reference(np.arange(-3, 6), np.arange(-2, 6)).T)


def test_spline_of_a_cubic_is_the_cubic() -> None:
    def cubic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 1 + 0.1 * x - 0.02 * y**3 + 0.003 * x * x * y

    nodes = np.linspace(0, 12, 7)
    layer = SplineLayer(cubic(nodes[None, :], nodes[:, None]), nodes, nodes)
    y, x = np.mgrid[0:13, 0:13]
    np.testing.assert_allclose(layer.image((13, 13)), cubic(x, y), atol=1e-9)


def test_chebyshev_is_a_sum_of_polynomials() -> None:
    layer = ChebyshevLayer([[0.0, 0.0, 1.0], [2.0, 0.0, 0.0]], domain=((0, 10), (0, 20)))
    # T2(x) + 2 T1(y) at x = 15 (0.5), y = 0 (-1)
    assert float(layer.at(15, 0)) == pytest.approx(2 * 0.25 - 1 - 2)
    assert ChebyshevLayer([[1.0, 1.0]], domain=(5, 1)).image((1, 1)).tolist() == [[1.0]]


def test_layers_add_up() -> None:
    both = Background([SPLINE]) + CHEBYSHEV
    np.testing.assert_allclose(both.image((4, 5)), SPLINE.image((4, 5)) + CHEBYSHEV.image((4, 5)))
    assert Background([SPLINE]) + Background([CHEBYSHEV]) == both
    assert list(both) == [SPLINE, CHEBYSHEV]
    assert both[1] == CHEBYSHEV
    grown = first = Background()
    grown += SPLINE
    assert (len(grown), len(first)) == (1, 0)
    assert bool(first)
    assert not first.image((2, 3)).any()
    with pytest.raises(TypeError):
        both + 1  # type: ignore[operator]


def test_real_splinesky(decam: Path) -> None:
    path = next(decam.glob("calib/decam/CP/V4.8.2/CP20170315/*/*N2-splinesky.fits"))
    with fits.open(path) as hdus:
        row = hdus[1].data[0]
        names = ("gridvals", "xgrid", "ygrid", "order", "x0", "y0")
        background = Background.from_splinesky(*(row[name] for name in names))
        reference = RectBivariateSpline(
            row["xgrid"], row["ygrid"], row["gridvals"].T, kx=int(row["order"]), ky=int(row["order"])
        )
        sky = hdus[0].header["S_MED"]
        x0, y0 = int(row["x0"]), int(row["y0"])
    image = background.image((250, 240))
    np.testing.assert_allclose(image, reference(np.arange(240) + x0, np.arange(250) + y0).T, rtol=1e-9)
    assert image.mean() == pytest.approx(sky, rel=0.05)
    # Shifted grids are shifted back.
    with fits.open(path) as hdus:
        row = hdus[1].data[0]
        moved = Background.from_splinesky(row["gridvals"], row["xgrid"], row["ygrid"], row["order"], x0 + 7, y0 + 9)
    np.testing.assert_allclose(moved.image((20, 30)), background.image((20, 30), origin=(9, 7)), rtol=1e-9)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SplineLayer(np.ones((4, 4)), range(4), range(5)), "5 positions"),
        (lambda: SplineLayer(np.ones((3, 4)), range(4), range(3)), "more than 3 nodes, not 3"),
        (lambda: SplineLayer(np.ones((4, 4)), [0, 2, 1, 3], range(4)), "ascend"),
        (lambda: SplineLayer(np.ones((4, 4)), range(4), range(4), order=6), "1 to 5"),
        (lambda: SplineLayer(np.full((4, 4), np.nan), range(4), range(4)), "finite"),
        (lambda: SplineLayer(np.ones(4), range(4), range(4)), "2 axes"),
        (lambda: ChebyshevLayer(np.ones((0, 2)), (3, 3)), "at least one"),
        (lambda: ChebyshevLayer([[1.0]], (1, 2, 3)), "domain"),
        (lambda: ChebyshevLayer([[1.0]], ((5, 1), (0, 1))), "ascend"),
    ],
)
def test_bad_layers(make: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()  # type: ignore[operator]


def test_bad_dicts_and_types() -> None:
    with pytest.raises(FormatError, match="did you mean 'spline'"):
        Background.from_dict({"layers": [{"kind": "splin"}]})
    with pytest.raises(FormatError, match="cannot be made of"):
        Background.from_dict({"layers": [{"kind": "spline", "value": 1}]})
    with pytest.raises(FormatError, match="one field 'layers'"):
        Background.from_dict({"layer": []})
    with pytest.raises(TypeError, match="SplineLayer or ChebyshevLayer"):
        Background([np.ones((2, 2))])  # type: ignore[list-item]
