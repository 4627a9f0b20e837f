"""What is known of a visit."""

from __future__ import annotations

import copy
import json
import math
import pickle

import numpy as np
import pytest
from astropy.io import fits

from bunter.errors import FormatError
from bunter.exposure import VisitInfo


def test_value_semantics() -> None:
    info = VisitInfo(visit=np.int64(7), exposure_time=np.float32(30), airmass=math.nan, date="2017-03-16T06:19:22")
    assert type(info.visit) is int
    assert type(info.exposure_time) is float
    for again in (
        pickle.loads(pickle.dumps(info)),
        copy.deepcopy(info),
        VisitInfo.from_dict(json.loads(json.dumps(info.to_dict()))),
    ):
        assert again == info
        assert hash(again) == hash(info)
    assert info != VisitInfo(visit=7)
    assert info != 7
    assert VisitInfo().to_dict() == {}
    with pytest.raises(AttributeError):
        info.visit = 8  # type: ignore[misc]
    assert repr(VisitInfo(visit=7)) == "VisitInfo(visit=7)"


def test_from_real_cards() -> None:
    header = fits.Header(
        [("EXPNUM", 630780), ("EXPTIME", 80), ("MJD-OBS", 57828.25), ("RA", "12:28:09.23"), ("DEC", "-00:30:36.0"),
         ("ZD", "60.5"), ("OBSERVAT", "CTIO    "), ("EMPTY", None), ("DATE-OBS", "2017-03-16T06:21:07")]
    )  # fmt: skip
    cards = {
        "visit": "EXPNUM", "exposure_time": "EXPTIME", "mjd": "MJD-OBS", "boresight_ra": "RA", "boresight_dec": "DEC",
        "rotation_angle": "ZD", "observatory": "OBSERVAT", "airmass": "EMPTY", "instrument": "MISSING",
        "date": "DATE-OBS",
    }  # fmt: skip
    info = VisitInfo.from_header(header, cards)
    assert info == VisitInfo(
        visit=630780,
        exposure_time=80.0,
        mjd=57828.25,
        boresight_ra=15 * (12 + 28 / 60 + 9.23 / 3600),
        boresight_dec=-0.51,
        rotation_angle=60.5,
        observatory="CTIO",
        date="2017-03-16T06:21:07",
    )
    assert VisitInfo.from_header({"RA": 187.0, "VISIT": "12"}, {"boresight_ra": "RA", "visit": "VISIT"}) == VisitInfo(
        visit=12, boresight_ra=187.0
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("visit", 1.5),
        ("visit", True),
        ("visit", "7"),
        ("mjd", "x"),
        ("airmass", [1]),
        ("date", 57828.2),
        ("observer", 1),
    ],
)
def test_wrong_types_name_the_field(field: str, value: object) -> None:
    with pytest.raises(TypeError, match=field):
        VisitInfo(**{field: value})  # type: ignore[arg-type]


def test_wrong_names_and_cards() -> None:
    with pytest.raises(FormatError, match="did you mean 'exposure_time'"):
        VisitInfo.from_dict({"exposure_tme": 1})
    with pytest.raises(ValueError, match="did you mean 'airmass'"):
        VisitInfo.from_header({}, {"airmas": "AIRMASS"})
    for card in ("much", "1:2:3:4", 1):
        field = "observer" if card == 1 else "airmass"
        with pytest.raises(ValueError, match="the card C"):
            VisitInfo.from_header({"C": card}, {field: "C"})
