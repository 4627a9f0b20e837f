"""What was observed when, and where the telescope was pointing: shared by all detectors of a visit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from ..errors import FormatError
from ..words import did_you_mean, listing


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class VisitInfo:
    """Facts of a visit; None for what is not known. Frozen, equal by value (NaN equal).

    Parameters
    ----------
    visit : int, optional
        Number of the visit.
    date : str, optional
        Start of the exposure as an ISO 8601 date and time, UTC unless it says otherwise.
    mjd : float, optional
        Start of the exposure as a modified Julian date, days.
    exposure_time, dark_time : float, optional
        Seconds.
    boresight_ra, boresight_dec : float, optional
        Where the telescope was pointing, degrees.
    boresight_azimuth, boresight_altitude : float, optional
        The same as seen by the observer, degrees.
    airmass : float, optional
        At the boresight.
    hour_angle, rotation_angle : float, optional
        Degrees.
    observatory, telescope, instrument, observer, program, observation_type, object : str, optional
        Names.
    longitude, latitude : float, optional
        Of the observatory, degrees, east positive.
    elevation : float, optional
        Of the observatory, metres.
    air_temperature : float, optional
        Degrees Celsius.
    air_pressure : float, optional
        Hectopascal.
    humidity : float, optional
        Percent.

    Raises
    ------
    TypeError
        If a value is of the wrong type.

    Examples
    --------
    >>> info = VisitInfo(visit=431608, exposure_time=114.0)
    >>> info.to_dict()
    {'visit': 431608, 'exposure_time': 114.0}
    """

    __bunter_components__: ClassVar[Mapping[str, str]] = {}

    visit: int | None = None
    date: str | None = None
    mjd: float | None = None
    exposure_time: float | None = None
    dark_time: float | None = None
    boresight_ra: float | None = None
    boresight_dec: float | None = None
    boresight_azimuth: float | None = None
    boresight_altitude: float | None = None
    airmass: float | None = None
    hour_angle: float | None = None
    rotation_angle: float | None = None
    observatory: str | None = None
    telescope: str | None = None
    instrument: str | None = None
    observer: str | None = None
    program: str | None = None
    observation_type: str | None = None
    object: str | None = None
    longitude: float | None = None
    latitude: float | None = None
    elevation: float | None = None
    air_temperature: float | None = None
    air_pressure: float | None = None
    humidity: float | None = None

    def __post_init__(self) -> None:
        from .values import number, whole

        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            if field.name == "visit":
                value = whole(value, "visit")
            elif field.type == "str | None":
                if not isinstance(value, str):
                    raise TypeError(f"{field.name}: a string is needed, not {value!r:.60}")
                value = str(value)
            else:
                value = number(value, field.name)
            object.__setattr__(self, field.name, value)

    @classmethod
    def from_header(cls, header: Mapping[str, Any], cards: Mapping[str, str]) -> VisitInfo:
        """Take the facts from header cards.

        Parameters
        ----------
        header : mapping or astropy.io.fits.Header
            The cards; one that is absent or has no value gives None.
        cards : mapping of str to str
            Field -> keyword: ``{"exposure_time": "EXPTIME"}``. Positions may be sexagesimal strings
            (right ascension and hour angle in hours, all others in degrees); numbers are degrees.

        Raises
        ------
        ValueError
            If a field does not exist, or a card's value does not fit.
        """
        kinds = {field.name: str(field.type) for field in fields(cls)}
        found: dict[str, Any] = {}
        for name, card in cards.items():
            if name not in kinds:
                raise ValueError(
                    f"a VisitInfo has no {name!r}{did_you_mean(name, kinds)}; it has: {listing(kinds, 40)}"
                )
            value = header.get(card)
            if value is None or type(value).__name__ == "Undefined":
                continue
            try:
                found[name] = _converted(name, kinds[name], value)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name}: the card {card} = {value!r:.60} does not fit: {error}") from error
        return cls(**found)

    def to_dict(self) -> dict[str, Any]:
        """Return what is known, as plain values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VisitInfo:
        """Make a VisitInfo of what `to_dict` returned.

        Raises
        ------
        FormatError
            If there is an unknown field.
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise FormatError(
                    f"a VisitInfo has no {name!r}{did_you_mean(name, known)}; it has: {listing(known, 40)}"
                )
        return cls(**values)

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, VisitInfo):
            return NotImplemented
        from .values import same_plain

        return same_plain(self.to_dict(), other.to_dict())

    def __hash__(self) -> int:
        # NaNs are equal here but hash by identity.
        return hash(tuple((name, value) for name, value in self.to_dict().items() if value == value))

    def __repr__(self) -> str:
        return f"VisitInfo({', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())})"


def _converted(name: str, kind: str, value: Any) -> Any:
    if kind == "str | None":
        if not isinstance(value, str):
            raise TypeError("a string is needed")
        return value.strip()
    if isinstance(value, str):
        if re.search(r"[\s:]", value.strip()):
            return _degrees(value) * (15.0 if name in ("boresight_ra", "hour_angle") else 1.0)
        number = float(value)
        return int(value) if name == "visit" else number
    return value


def _degrees(text: str) -> float:
    parts = re.split(r"[\s:]+", text.strip())
    if len(parts) > 3:
        raise ValueError("degrees, minutes and seconds are needed")
    sign = -1.0 if parts[0].startswith("-") else 1.0
    return sign * sum(abs(float(part)) / 60.0**power for power, part in enumerate(parts))
