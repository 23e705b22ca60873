"""Model cards: roles of labels, and facts about models."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsfw_app.errors import ModelUnsupported
from nsfw_app.models.cards import (
    CARDS,
    FALCONSAI,
    OPEN_NSFW,
    SAFE_WORDS,
    UNSAFE_WORDS,
    card,
    first_policy,
    label_roles,
)
from nsfw_app.records import LabelRole

SAFE, UNSAFE = LabelRole.SAFE, LabelRole.UNSAFE


@pytest.mark.parametrize(
    "label",
    ["nsfw", "NSFW", "porn", "hentai", "sexy", "unsafe", "explicit", "NSFL", "gore", "Nudity"],
)
def test_unsafe_words_are_known(label: str) -> None:
    """Labels that publishers use for unsafe images are unsafe, in any case."""
    assert label_roles(["normal", label]) == {"normal": SAFE, label: UNSAFE}


@pytest.mark.parametrize(
    "label", ["normal", "SFW", "safe", "Neutral", "drawings", "non-nsfw", "Not NSFW", " sfw "]
)
def test_safe_words_are_known(label: str) -> None:
    """Labels that publishers use for safe images are safe, in any case and spelling."""
    assert label_roles([label, "porn"]) == {label: SAFE, "porn": UNSAFE}


def test_no_word_is_both() -> None:
    """No word counts as safe and as unsafe."""
    assert not SAFE_WORDS & UNSAFE_WORDS


def test_every_label_has_a_role_in_the_models_order() -> None:
    """Five classes get two roles, in the order of the model."""
    labels = ["drawings", "hentai", "neutral", "porn", "sexy"]
    roles = label_roles(labels)
    assert list(roles) == labels
    assert list(roles.values()) == [SAFE, UNSAFE, SAFE, UNSAFE, UNSAFE]


@pytest.mark.parametrize("labels", [["nsfw", "normal"], ["normal", "nsfw"]])
def test_the_position_of_a_label_means_nothing(labels: list[str]) -> None:
    """The word of a label decides its role, not its position."""
    assert label_roles(labels) == {"nsfw": UNSAFE, "normal": SAFE}


@pytest.mark.parametrize(
    "labels",
    [
        ["0", "1"],
        ["LABEL_0", "LABEL_1"],
        ["cat", "dog"],
        ["normal", "questionable"],
        ["nsfw", "other"],
        ["not safe", "safe"],
        ["", "nsfw"],
    ],
)
def test_unknown_labels_are_refused(labels: list[str]) -> None:
    """The message has the unknown labels, and the setting that gives them roles."""
    unknown = [label for label in labels if label not in {"normal", "nsfw", "safe"}]
    with pytest.raises(ModelUnsupported) as caught:
        label_roles(labels)
    complaint, _, remedy = str(caught.value).partition("Set NSFW_UNSAFE_LABELS")
    assert all(f"'{label}'" in complaint for label in unknown)
    assert all(f"'{label}'" in remedy for label in labels)
    assert "'normal'" not in complaint


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=5, unique=True))
def test_roles_are_never_guessed(labels: list[str]) -> None:
    """One unknown label is enough to refuse a model."""
    with pytest.raises(ModelUnsupported):
        label_roles(["normal", "nsfw", *(f"{label} thing" for label in labels)])


@pytest.mark.parametrize("labels", [["nsfw", "porn"], ["nsfw"], ["normal", "safe"], ["sfw"]])
def test_one_sided_labels_are_refused(labels: list[str]) -> None:
    """A model with only safe or only unsafe labels is refused; the message has its labels."""
    with pytest.raises(ModelUnsupported) as caught:
        label_roles(labels)
    assert all(f"'{label}'" in str(caught.value) for label in labels)


def test_a_model_without_labels_is_refused() -> None:
    """A model needs labels to have a score."""
    with pytest.raises(ModelUnsupported):
        label_roles([])


def test_named_labels_are_unsafe_and_all_others_safe() -> None:
    """The setting gives roles to unknown labels."""
    assert label_roles(["0", "1", "2"], unsafe_labels=["1"]) == {"0": SAFE, "1": UNSAFE, "2": SAFE}


def test_named_labels_override_known_words() -> None:
    """The setting also decides for labels with a known role."""
    roles = label_roles(["neutral", "sexy", "porn"], unsafe_labels=["porn"])
    assert roles == {"neutral": SAFE, "sexy": SAFE, "porn": UNSAFE}


def test_named_labels_ignore_case_and_spaces() -> None:
    """`label 1` names `LABEL_1`."""
    assert label_roles(["LABEL_0", "LABEL_1"], unsafe_labels=[" label 1"])["LABEL_1"] is UNSAFE


def test_named_labels_that_do_not_exist_are_an_error() -> None:
    """The message has the setting, the missing name and the model's labels."""
    with pytest.raises(ModelUnsupported) as caught:
        label_roles(["cat", "dog"], unsafe_labels=["dog", "bird"])
    complaint, _, labels = str(caught.value).partition("Its labels are")
    assert "NSFW_UNSAFE_LABELS" in complaint
    assert "'bird'" in complaint
    assert "'dog'" not in complaint
    assert "'cat', 'dog'" in labels


def test_naming_every_label_is_refused() -> None:
    """At least one label has to stay safe."""
    with pytest.raises(ModelUnsupported, match="are unsafe"):
        label_roles(["cat", "dog"], unsafe_labels=["cat", "dog"])


@pytest.mark.parametrize(
    ("model", "threshold", "terms", "source"),
    [
        (FALCONSAI, 0.53, "Apache-2.0", "0.529"),
        (OPEN_NSFW, 0.33, "BSD-2-Clause", "0.327"),
        ("someone/else", 0.5, "own page", "No measurement"),
    ],
)
def test_cards_say_where_the_threshold_comes_from(
    model: str, threshold: float, terms: str, source: str
) -> None:
    """Each card has a license, limitations, and a default threshold with its source."""
    known = card(model)
    assert known.threshold == threshold
    assert terms in known.license
    assert source in known.threshold_source
    assert known.limits
    assert known.preprocessing


def test_claims_have_their_source() -> None:
    """A claimed accuracy has its source; an unknown model has none."""
    assert "98.04 %" in card(FALCONSAI).claimed_accuracy
    assert "model card" in card(FALCONSAI).claimed_accuracy
    assert "PhotoPrism" in card(OPEN_NSFW).claimed_accuracy
    assert "Not known" in card("someone/else").claimed_accuracy
    assert card("someone/else").name == "someone/else"


@pytest.mark.parametrize("model", [*CARDS, "someone/else"])
def test_the_first_policy_has_the_models_threshold(model: str) -> None:
    """Without a setting it is the model's own threshold, and the band of the settings."""
    policy = first_policy(model, threshold=None, band=(0.2, 0.8))
    assert policy.threshold == card(model).threshold
    assert (policy.review_from, policy.review_to, policy.version) == (0.2, 0.8, 1)
    assert policy.reason


@pytest.mark.parametrize(
    ("threshold", "band", "expected"),
    [
        (0.6, (0.2, 0.8), (0.2, 0.8)),
        (0.1, (0.2, 0.8), (0.1, 0.8)),
        (0.9, (0.2, 0.8), (0.2, 0.9)),
        (0.0, (0.0, 0.0), (0.0, 0.0)),
        (None, (0.6, 0.8), (0.53, 0.8)),
        (None, (0.1, 0.4), (0.1, 0.53)),
    ],
)
def test_the_band_widens_to_hold_the_threshold(
    threshold: float | None, band: tuple[float, float], expected: tuple[float, float]
) -> None:
    """A threshold from the settings is used, also zero, and the band is widened to it."""
    policy = first_policy(FALCONSAI, threshold=threshold, band=band)
    assert policy.threshold == (0.53 if threshold is None else threshold)
    assert (policy.review_from, policy.review_to) == expected
