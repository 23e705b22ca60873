"""Decisions of reviewers: what is to be recorded, and the row of the correction log."""

from dataclasses import dataclass

from nsfw_app.errors import DecisionError
from nsfw_app.records import Category, Label, Reason, Tab


@dataclass(frozen=True, slots=True)
class NewDecision:
    """A reviewer's decision to be recorded, with what was on the screen.

    - `nonce` is an idempotency key: the same one again records nothing more.
    - `name` is the one shown, of those the image was uploaded under.
    - `elapsed_ms` is how long the image was on the screen, where that is known.
    - `seen` is the page's word that the reviewer revealed the image, `seen_ms` for how long in all.
    - `tab` is where it was made; None for a program.
    - `policy_version` is the version of the policy on the screen, where that is known.
    - `entry_id` is the queue entry that the reviewer claimed; None outside the queue.
    - `categories` are those that the reviewer names, put in the order of `Category`, each once;
      None where the reviewer was not asked.

    Raises:
        DecisionError: The threshold leaves [0, 1], a text is too long, missing or not Unicode, or a
            normal image has a category other than those in `SAFE_CATEGORIES`.
    """

    nonce: str
    image_sha256: str
    label: Label
    threshold: float
    model: str
    revision: str
    backend: str
    reasons: tuple[Reason, ...] = ()
    note: str = ""
    batch_id: str = ""
    name: str = ""
    elapsed_ms: int | None = None
    seen: bool = False
    seen_ms: int | None = None
    tab: Tab | None = None
    policy_version: int | None = None
    entry_id: int | None = None
    categories: tuple[Category, ...] | None = None

    MAX_NOTE_CHARACTERS = 4_000
    MAX_NONCE_CHARACTERS = 64
    SAFE_CATEGORIES = frozenset({Category.DRAWING})  # by itself a drawing is not unsafe

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise DecisionError(f"The threshold {self.threshold} is not between 0 and 1.")
        texts = (self.nonce, self.image_sha256, self.model, self.revision, self.backend)
        if any("\ud800" <= c <= "\udfff" for text in (*texts, self.note, self.name) for c in text):
            raise DecisionError("The text contains an unpaired surrogate.")
        if len(self.note) > self.MAX_NOTE_CHARACTERS:
            raise DecisionError(
                f"The note has {len(self.note)} characters; "
                f"the limit is {self.MAX_NOTE_CHARACTERS}."
            )
        if not 0 < len(self.nonce) <= self.MAX_NONCE_CHARACTERS:
            raise DecisionError(
                f"A decision needs a nonce of 1 to {self.MAX_NONCE_CHARACTERS} characters."
            )
        if self.categories is not None:
            chosen = tuple(each for each in Category if each in self.categories)
            object.__setattr__(self, "categories", chosen)
            unsafe = [each for each in chosen if each not in self.SAFE_CATEGORIES]
            if self.label is Label.NORMAL and unsafe:
                raise DecisionError(
                    f"An image labeled normal has no category {unsafe[0]}. Label it nsfw or "
                    "unsure, or leave the category out."
                )


@dataclass(frozen=True, slots=True)
class Decision:
    """One row of the correction log, its fields in the log's order.

    - `agrees` is None for unsure.
    - `seen` is whether this reviewer had revealed the image; None where it was not recorded.
    - `queue_reason` is why the image was in the queue from which it was decided; None elsewhere.
    - `draw_probability` is that of the rule which admitted it to the queue; None where people did.
    - `policy_version` is the version that was on the screen.
    - `settled_label` is that of the prediction now; None while it waits or reviewers differ.
    - `categories` are those that the reviewer named; None where the reviewer was not asked.
    """

    decision_id: int
    decided_at: str
    reviewer: str
    image_sha256: str
    name: str
    source: str
    model: str
    revision: str
    backend: str
    nsfw_score: float
    threshold: float
    model_label: str
    reviewer_label: str
    agrees: bool | None
    reasons: tuple[str, ...]
    note: str
    batch_id: str
    undone: bool
    seen: bool | None
    elapsed_ms: int | None
    queue_reason: str | None
    draw_probability: float | None
    policy_version: int | None
    settled_label: str | None
    warnings: tuple[str, ...]
    seen_ms: int | None
    categories: tuple[str, ...] | None
