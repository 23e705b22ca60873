"""The image, the prediction and the model of a row of a scan."""

import json
from collections.abc import Mapping
from typing import Any

from nsfw_app.datasets.filtering import is_incomplete
from nsfw_app.imaging.image_warnings import without_background
from nsfw_app.records import (
    Background,
    Detail,
    ImageInfo,
    ImageWarning,
    JudgedImage,
    ModelIdentity,
    Prediction,
    WarningCode,
)


def identity_of(row: Mapping[str, Any]) -> ModelIdentity:
    """The model that made the prediction of a row."""
    return ModelIdentity(row["model"], row["revision"], row["weights_sha256"], row["backend"])


def judged_image(row: Mapping[str, Any]) -> JudgedImage:
    """The image and the prediction of a row that has one, as they were scanned.

    A row names the background of the prediction only where the image shows something else on
    another one; else white is taken.
    """
    background, warnings = Background.WHITE, []
    for each in row["warnings"] or ():
        warning = ImageWarning(WarningCode(each["code"]), each["message"])
        if warning.code is WarningCode.TRANSPARENCY:
            warning, background = without_background(warning)
        if warning.code is not WarningCode.EXTENSION:
            warnings.append(warning)
    info = ImageInfo(
        sha256=row["sha256"],
        format=row["format"],
        width=row["width"],
        height=row["height"],
        size_bytes=row["size_bytes"],
        frames=row["frames"],
        warnings=tuple(warnings),
        incomplete=is_incomplete(row["warnings"]),
    )
    prediction = Prediction(
        row["sha256"],
        identity_of(row),
        row["probabilities"],
        row["nsfw_score"],
        row["frame"],
        background,
    )
    return JudgedImage(info, prediction, detail=_detail(row))


def _detail(row: Mapping[str, Any]) -> Detail | None:
    """What the detail model computed; None where it was not asked, or failed."""
    if not row.get("detail_probabilities"):
        return None
    names = ("model", "revision", "weights_sha256", "backend")
    identity = ModelIdentity(*(row[f"detail_{name}"] for name in names))
    return Detail(identity.model, identity, json.loads(row["detail_probabilities"]))
