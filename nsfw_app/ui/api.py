"""The page's named endpoints, for gradio_client."""

import secrets
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from nsfw_app.errors import DecisionError
from nsfw_app.records import Label, NewDecision, Reason, Upload
from nsfw_app.review import exports
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Permission, retain_upload
from nsfw_app.ui.render import permitted, shown
from nsfw_app.web.middleware.gradio_uploads import uploads_of
from nsfw_app.web.monitoring import monitor_of

MAX_PARALLEL = 8
Code = TypeVar("Code", bound=StrEnum)


def add_endpoints(engine: Engine) -> None:
    """Adds `/classify` (one file to its JSON) and `/decide` (an answer to its log row)."""

    @shown
    def classify(path: str | None, request: gr.Request) -> dict[str, Any]:
        if path is None:
            raise DecisionError("/classify needs a file.")
        caller = permitted(request, Permission.CLASSIFY)
        file, uploads = Path(path), uploads_of(request.request)
        uploads.check_owner(file, caller)  # again, where it is read and deleted
        try:
            upload = Upload(file.name, "api", caller.owner, retain=retain_upload(caller))
            review = engine.review_file(file, upload)
            monitor_of(request.request).record(review)
            return exports.review_json(review)
        finally:
            uploads.forget(file)

    @shown
    def decide(
        sha256: str,
        label: str,
        threshold: float | None,
        model: str,
        revision: str,
        backend: str,
        reasons: list[str],
        note: str | None,
        nonce: str | None,
        request: gr.Request,
    ) -> dict[str, Any]:
        if threshold is None:
            raise DecisionError("/decide needs the threshold that the answer refers to.")
        answer = NewDecision(
            nonce=nonce or secrets.token_hex(16),
            image_sha256=sha256,
            label=_one_of(Label, label),
            threshold=threshold,
            model=model,
            revision=revision,
            backend=backend,
            reasons=tuple(_one_of(Reason, reason) for reason in reasons or []),
            note=note or "",
        )
        return asdict(engine.decide(answer, permitted(request, Permission.REVIEW)))

    hidden: dict[str, Any] = {"visible": False, "render": True}
    file = gr.File(label="Image", **hidden)
    review = gr.JSON(label="Review", **hidden)
    gr.Button(visible=False).click(
        classify,
        file,
        review,
        api_name="classify",
        trigger_mode="multiple",
        concurrency_limit=MAX_PARALLEL,
    )
    texts = {
        name: gr.Textbox(label=name, **hidden)
        for name in ("sha256", "label", "model", "revision", "backend", "note", "nonce")
    }
    threshold = gr.Number(label="threshold", **hidden)
    reasons = gr.CheckboxGroup(list(Reason), label="reasons", **hidden)
    gr.Button(visible=False).click(
        decide,
        [
            texts["sha256"],
            texts["label"],
            threshold,
            texts["model"],
            texts["revision"],
            texts["backend"],
            reasons,
            texts["note"],
            texts["nonce"],
        ],
        gr.JSON(label="Decision", **hidden),
        api_name="decide",
        trigger_mode="multiple",
        concurrency_limit=MAX_PARALLEL,
    )


def _one_of(kind: type[Code], value: str) -> Code:
    try:
        return kind(value)
    except ValueError:
        raise DecisionError(f"'{value}' is not one of {', '.join(kind)}.") from None
