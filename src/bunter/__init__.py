"""Bunter: a data butler for astronomy whose centre is the composite dataset.

One Python object whose parts live in different files, come from different processing stages, carry different
data IDs and may sit in different repositories.
"""

from __future__ import annotations

# As that of `typing`, whose import would take longer than everything else here.
TYPE_CHECKING = False

__version__ = "0.1.0"

# Everything is imported when it is first used, so that `import bunter` costs next to nothing.
_PLACES = {
    "Butler": ".butler",
    "RepositoryArgs": ".opening",
    "DatasetRef": ".refs",
    "DeferredDataset": ".refs",
    "Query": ".refs",
    "DataId": ".dataid",
    "Plan": ".plan_view",
    "Scan": ".scanning",
    "Purged": ".purging",
    "Trashed": ".trash",
    "Finding": ".verifying",
    "Report": ".verifying",
    "verify": ".verifying",
    **dict.fromkeys(
        (
            "Background",
            "ChebyshevLayer",
            "Exposure",
            "FrozenWCS",
            "GaussianPsf",
            "ImagePsf",
            "Mask",
            "Metadata",
            "PhotoCalib",
            "Psf",
            "PsfExPsf",
            "SourceCatalog",
            "SplineLayer",
            "VisitExposure",
            "VisitInfo",
        ),
        ".exposure",
    ),
    **dict.fromkeys(
        (
            "AmbiguousDatasetError",
            "AssemblyError",
            "BunterError",
            "ComponentNotFoundError",
            "ConflictError",
            "DataIdError",
            "DatasetExistsError",
            "DatasetNameError",
            "DatasetNotFoundError",
            "DatasetTypeNotFoundError",
            "DefinitionError",
            "FormatError",
            "FormatMemoryError",
            "FormatUnavailableError",
            "InUseError",
            "IntegrityError",
            "NotFoundError",
            "ParameterError",
            "RepositoryError",
            "TrustError",
        ),
        ".errors",
    ),
}

if TYPE_CHECKING:
    from typing import Any

    from .butler import Butler
    from .dataid import DataId
    from .errors import (
        AmbiguousDatasetError,
        AssemblyError,
        BunterError,
        ComponentNotFoundError,
        ConflictError,
        DataIdError,
        DatasetExistsError,
        DatasetNameError,
        DatasetNotFoundError,
        DatasetTypeNotFoundError,
        DefinitionError,
        FormatError,
        FormatMemoryError,
        FormatUnavailableError,
        IntegrityError,
        InUseError,
        NotFoundError,
        ParameterError,
        RepositoryError,
        TrustError,
    )
    from .exposure import (
        Background,
        ChebyshevLayer,
        Exposure,
        FrozenWCS,
        GaussianPsf,
        ImagePsf,
        Mask,
        Metadata,
        PhotoCalib,
        Psf,
        PsfExPsf,
        SourceCatalog,
        SplineLayer,
        VisitExposure,
        VisitInfo,
    )
    from .opening import RepositoryArgs
    from .plan_view import Plan
    from .purging import Purged
    from .refs import DatasetRef, DeferredDataset, Query
    from .scanning import Scan
    from .trash import Trashed
    from .verifying import Finding, Report, verify

__all__ = [
    "AmbiguousDatasetError",
    "AssemblyError",
    "Background",
    "BunterError",
    "Butler",
    "ChebyshevLayer",
    "ComponentNotFoundError",
    "ConflictError",
    "DataId",
    "DataIdError",
    "DatasetExistsError",
    "DatasetNameError",
    "DatasetNotFoundError",
    "DatasetRef",
    "DatasetTypeNotFoundError",
    "DeferredDataset",
    "DefinitionError",
    "Exposure",
    "Finding",
    "FormatError",
    "FormatMemoryError",
    "FormatUnavailableError",
    "FrozenWCS",
    "GaussianPsf",
    "ImagePsf",
    "InUseError",
    "IntegrityError",
    "Mask",
    "Metadata",
    "NotFoundError",
    "ParameterError",
    "PhotoCalib",
    "Plan",
    "Psf",
    "PsfExPsf",
    "Purged",
    "Query",
    "Report",
    "RepositoryArgs",
    "RepositoryError",
    "Scan",
    "SourceCatalog",
    "SplineLayer",
    "Trashed",
    "TrustError",
    "VisitExposure",
    "VisitInfo",
    "verify",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'bunter' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(place, __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
