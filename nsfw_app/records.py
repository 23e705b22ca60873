"""Domain types, as frozen dataclasses and enums.

- A score is a probability in [0, 1].
- A time is an ISO 8601 text in UTC.
- `Action.UNAVAILABLE` is the default of a verdict.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from string import hexdigits

from nsfw_app.errors import FilterError, PolicyError

# Before the name of a source of imported labels, which decisions have in place of a reviewer.
IMPORT_PREFIX = "import:"
SHA256_PATTERN = "^[0-9a-f]{64}$"  # an image's hash, in texts and in JSON Schema


def is_import_source(reviewer: str) -> bool:
    """Whether a name is that of a source of imported labels, which no person may have."""
    return reviewer.strip().casefold().startswith(IMPORT_PREFIX)


class Label(StrEnum):
    """Class of an image. Models predict the first two; reviewers may choose any."""

    NORMAL = "normal"
    NSFW = "nsfw"
    UNSURE = "unsure"


class Action(StrEnum):
    """The action to take on an image. The first is the zero value: no verdict, never safe."""

    UNAVAILABLE = "unavailable"
    ALLOW = "allow"
    REVIEW = "review"
    BLOCK = "block"


class LabelRole(StrEnum):
    """Whether a model's label counts towards the nsfw score."""

    SAFE = "safe"
    UNSAFE = "unsafe"


class Category(StrEnum):
    """What is unsafe about an image, in the order in which categories are listed.

    A model judges some of them: those to which one of its labels is mapped.
    """

    SEXUAL_EXPLICIT = "sexual_explicit"
    SEXUAL_SUGGESTIVE = "sexual_suggestive"
    NUDITY = "nudity"
    DRAWING = "drawing"
    GORE_OR_VIOLENCE = "gore_or_violence"
    SELF_HARM = "self_harm"
    OTHER = "other"


class Reason(StrEnum):
    """Why a reviewer disagrees with the model."""

    NUDITY = "nudity"
    SEXUAL_ACT = "sexual_act"
    SUGGESTIVE = "suggestive"
    VIOLENCE_OR_GORE = "violence_or_gore"
    MEDICAL = "medical"
    ART = "art"
    DRAWING_OR_AI = "drawing_or_ai_generated"
    PARTIAL_EXPOSURE = "partial_exposure"
    MINOR_PRESENT = "minor_present"
    OTHER = "other"


class Tab(StrEnum):
    """A tab of the page in which decisions are made."""

    REVIEW = "review"
    GALLERY = "gallery"
    QUEUE = "queue"
    RELABEL = "relabel"


class WarningCode(StrEnum):
    """Tolerated faults of a file, in the order in which warnings are listed."""

    EXTENSION = "extension"
    METADATA = "metadata"
    TRUNCATED = "truncated"
    COLOR_PROFILE = "color_profile"
    TRANSPARENCY = "transparency"


class Background(StrEnum):
    """The color behind transparent pixels."""

    WHITE = "white"
    BLACK = "black"


@dataclass(frozen=True, slots=True)
class ImageWarning:
    """A tolerated fault of a file: a code for programs, a sentence for people."""

    code: WarningCode
    message: str


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """The exact weights and backend that computed a prediction.

    `revision` is a commit hash, or the hash of the weights where no commit exists.
    """

    model: str
    revision: str
    weights_sha256: str
    backend: str


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """Facts of an uploaded file. Width and height are pixels after EXIF rotation.

    - `warnings` are those about the bytes, in the order of `WarningCode`; none where the image was
      stored before warnings existed.
    - `incomplete` is whether pixels are missing.
    """

    sha256: str
    format: str
    width: int
    height: int
    size_bytes: int
    frames: int
    warnings: tuple[ImageWarning, ...] = ()
    incomplete: bool = False


@dataclass(frozen=True, slots=True)
class Preview:
    """Placeholder and perceptual hash of an image.

    - `placeholder` is a WebP of 24 pixels, empty where it was deleted.
    - `perceptual_hash` is that of `imaging.previews`, by which near-duplicates are found; None
      where it is not known.
    """

    placeholder: bytes = b""
    perceptual_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """Label probabilities of one image from one model.

    - `frame` is the 0-based index of the frame the probabilities belong to: the decoded frame
      with the highest nsfw score.
    - `background` is the color behind its transparent pixels.
    - `categories` are the probabilities of the categories to which labels of the model belong.
    """

    image_sha256: str
    identity: ModelIdentity
    probabilities: Mapping[str, float]
    nsfw_score: float
    frame: int = 0
    background: Background = Background.WHITE
    categories: Mapping[Category, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageProblem:
    """Why an image has no verdict: an error's kind and sentence."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Detail:
    """What the detail model, the second one, computed for an image, or why it failed.

    - `model` is the one that was asked, `identity` its weights; None where there is a `problem`.
    - `probabilities` are of the frame that the first model's prediction is of.
    - `categories` are the probabilities of the categories to which labels of the model belong.
    - `row_id` is its row in the store; 0 where it is not stored.
    """

    model: str
    identity: ModelIdentity | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    categories: Mapping[Category, float] = field(default_factory=dict)
    problem: ImageProblem | None = None
    row_id: int = 0


@dataclass(frozen=True, slots=True)
class JudgedImage:
    """An image with a model's prediction and its preview.

    - `prediction_id` is the prediction's row in the store; 0 where it is not stored.
    - `submission_id` is set when the image entered the queue for a program.
    - `arrived` is whether an upload of it that may enter the queue is stored.
    - `detail` is None where the detail model was not asked.
    """

    info: ImageInfo
    prediction: Prediction
    preview: Preview = Preview()
    prediction_id: int = 0
    submission_id: str | None = None
    arrived: bool = False
    detail: Detail | None = None

    @property
    def categories(self) -> dict[Category, float]:
        """The probability of each category that was judged; where both models did, the second's."""
        found = {**self.prediction.categories, **(self.detail.categories if self.detail else {})}
        return {category: found[category] for category in Category if category in found}


@dataclass(frozen=True, slots=True)
class CategoryRule:
    """The action on an image from a category's probability `threshold` upwards.

    Raises:
        PolicyError: The threshold is not in (0, 1], or the action neither review nor block.
    """

    category: Category
    threshold: float
    action: Action

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise PolicyError(
                f"The threshold {self.threshold} of {self.category} is not above 0 and at most 1."
            )
        if self.action not in {Action.REVIEW, Action.BLOCK}:
            raise PolicyError(
                f"The action of {self.category} is '{self.action}'; it must be review or block."
            )


@dataclass(frozen=True, slots=True)
class Policy:
    """Threshold and review band of a model, and the rules of categories.

    - `version` 0 was never saved.
    - `category_rules` has at most one rule for each category.
    - `overrules_allow` is whether rules also apply to images that the score alone allows. It
      is where a detail model is asked about all images, and is not stored.

    Raises:
        PolicyError: Not 0 <= review_from <= threshold <= review_to <= 1, or a category has two
            rules.
    """

    threshold: float
    review_from: float
    review_to: float
    version: int = 0
    author: str = ""
    reason: str = ""
    category_rules: tuple[CategoryRule, ...] = ()
    overrules_allow: bool = False

    def __post_init__(self) -> None:
        categories = [rule.category for rule in self.category_rules]
        if len(set(categories)) < len(categories):
            raise PolicyError("A category has more than one rule.")
        if not 0 <= self.review_from <= self.threshold <= self.review_to <= 1:
            raise PolicyError(
                f"A policy needs 0 <= review from ({self.review_from}) <= threshold "
                f"({self.threshold}) <= review to ({self.review_to}) <= 1."
            )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Label and action of a score under a policy. Without arguments: no verdict."""

    label: Label | None = None
    action: Action = Action.UNAVAILABLE


class Retain(StrEnum):
    """What the store keeps of a classified image."""

    NOTHING = "nothing"
    SCORE = "score"  # facts and prediction
    PREVIEW = "preview"  # also the upload, and a preview unless the settings keep none
    QUEUE = "queue"  # as PREVIEW, and a queue entry where a queue rule asks for one
    SUBMISSION = "submission"  # as SCORE; as QUEUE, with a submission id, where a rule asks for it

    @property
    def queues(self) -> bool:
        """Whether the image may enter the queue."""
        return self in {Retain.QUEUE, Retain.SUBMISSION}


@dataclass(frozen=True, slots=True)
class Upload:
    """Where an image came from, and what the store keeps of it.

    `key_name` is the API key it was sent with, whose webhook gets messages about a submission.

    Raises:
        ValueError: More than the score is kept, and there is no owner to keep it for.
    """

    name: str
    source: str
    owner: str | None = None
    batch_id: str = ""
    retain: Retain = Retain.SCORE
    key_name: str | None = None

    def __post_init__(self) -> None:
        if self.owner is None and self.retain not in {Retain.NOTHING, Retain.SCORE}:
            raise ValueError(f"Retain.{self.retain.name} needs an owner.")


@dataclass(frozen=True, slots=True)
class Review:
    """The machine's result for one file: verdict, prediction, preview, and problem.

    - It is no decision: what a reviewer records about an image is a `Decision`.
    - `problem` is set when it has no prediction.
    - `warnings` are all that concern the file: its bytes, its name, and its background.
    - `submission_id` is set when it entered the queue for a program.
    - `detail` is None where the detail model was not asked; `categories` are those of both models.
    """

    name: str
    policy: Policy
    verdict: Verdict
    sha256: str | None = None
    image: ImageInfo | None = None
    prediction: Prediction | None = None
    preview: Preview | None = None
    problem: ImageProblem | None = None
    warnings: tuple[ImageWarning, ...] = ()
    submission_id: str | None = None
    detail: Detail | None = None
    categories: Mapping[Category, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Filter over the rows of the correction log; None matches every value.

    - `since` and `until` are given as `utc` takes them; `until` is exclusive.
    - `undone` False matches standing decisions only.
    - `search` is a part of the image's name or of the note, in any case of ASCII letters.
    - `sha256` are the first digits of the image's hash, at least `MIN_HASH_DIGITS`.
    - `blind_to` is a reviewer; decisions of others about images that wait for this reviewer's own
      decision are left out.

    Raises:
        FilterError: `since` or `until` is not a date, or `sha256` is not the start of a hash.
    """

    reviewer: str | None = None
    label: str | None = None
    agrees: bool | None = None
    model: str | None = None
    since: str | None = None
    until: str | None = None
    undone: bool | None = None
    blind_to: str | None = None
    reason: Reason | None = None
    search: str | None = None
    sha256: str | None = None
    category: Category | None = None

    MIN_HASH_DIGITS = 4  # of a million images, about 15 share four digits

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            if text := getattr(self, name):
                object.__setattr__(self, name, utc(text))
        if self.sha256 is not None:
            digits = self.sha256.strip().lower()
            if not self.MIN_HASH_DIGITS <= len(digits) <= 64 or set(digits) - set(hexdigits):
                raise FilterError(
                    f"'{self.sha256}' is not the start of a hash. Write at least "
                    f"{self.MIN_HASH_DIGITS} of its 64 digits 0 to 9 and a to f."
                )
            object.__setattr__(self, "sha256", digits)


def utc(text: str) -> str:
    """A time in the format of the log: ISO 8601 in UTC, to the millisecond.

    Args:
        text: A date or time in ISO 8601; without an offset it is in UTC.

    Raises:
        FilterError: The text is neither a date nor a time.
    """
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise FilterError(f"'{text}' is not a date. Write it as 2026-01-31.") from None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
