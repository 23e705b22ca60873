"""The page's named endpoints for gradio_client: `/classify` and `/decide`."""

import secrets
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from nsfw_app.decision import NewDecision
from nsfw_app.errors import DecisionError
from nsfw_app.records import Category, Label, Reason, Upload
from nsfw_app.review import image_json
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Permission, retain_upload
from nsfw_app.ui.handlers import authorize, show_errors
from nsfw_app.web.middleware.gradio_uploads import uploads_of
from nsfw_app.web.monitoring import monitor_of

MAX_CONCURRENCY = 8  # calls of each endpoint
NO_REASONS: list[Reason] = []
Code = TypeVar("Code", bound=StrEnum)


def add_endpoints(engine: Engine) -> None:
    """Add `/classify` (one file to its JSON) and `/decide` (one decision to its log row)."""

    @show_errors
    def classify(path: gr.FileData, request: gr.Request) -> dict[str, Any]:
        """Classify one image file."""
        caller = authorize(request, Permission.CLASSIFY)
        file, uploads = _path(path), uploads_of(request.request)
        uploads.check_owner(file, caller)  # again: here it is read and deleted
        try:
            upload = Upload(file.name, "api", caller.owner, retain=retain_upload(caller))
            review = engine.review_file(file, upload)
            monitor_of(request.request).record(review)
            return image_json.review_json(review)
        finally:
            uploads.forget(file)

    @show_errors
    def decide(
        request: gr.Request,
        sha256: str,
        label: Label,
        threshold: float,
        model: str,
        revision: str,
        backend: str,
        reasons: list[Reason] = NO_REASONS,
        note: str = "",
        nonce: str = "",
        categories: list[Category] | None = None,
    ) -> dict[str, Any]:
        """Record a decision about a classified image. A program sees none, so `seen` is false.

        Without `categories`, the decision says nothing about them.
        """
        decision = NewDecision(
            nonce=_text("nonce", nonce or "") or secrets.token_hex(16),
            image_sha256=_text("sha256", sha256),
            label=_code(Label, label),
            threshold=_number("threshold", threshold),
            model=_text("model", model),
            revision=_text("revision", revision),
            backend=_text("backend", backend),
            reasons=tuple(_code(Reason, reason) for reason in _list("reasons", reasons or [])),
            note=_text("note", note or ""),
            categories=None
            if categories is None
            else tuple(_code(Category, each) for each in _list("categories", categories)),
        )
        return asdict(engine.decide(decision, authorize(request, Permission.REVIEW)))

    gr.api(classify, api_name="classify", concurrency_limit=MAX_CONCURRENCY)
    gr.api(decide, api_name="decide", concurrency_limit=MAX_CONCURRENCY)


# `gr.api` passes the values of a call on as they are.


def _path(value: Any) -> Path:
    if not isinstance(value, dict) or not isinstance(path := value.get("path"), str):
        raise DecisionError("/classify needs a file.")
    return Path(path)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise DecisionError(f"/decide needs {name} as a text.")
    return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DecisionError(f"/decide needs {name} as a number.")
    return float(value)


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise DecisionError(f"/decide needs {name} as a list.")
    return value


def _code(kind: type[Code], value: Any) -> Code:
    try:
        return kind(value)
    except ValueError:
        raise DecisionError(f"'{value}' is not one of {', '.join(kind)}.") from None
