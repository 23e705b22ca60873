"""The detail model: the second model, asked about images after the first one judged them.

- It judges the frame that the first model's prediction is of, from pixels at full resolution.
- A failure is part of the result: the first model's prediction stays, and the image is not allowed.
- It shares CPU slots with the first model, and has a queue of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nsfw_app.errors import ImageError, ModelError
from nsfw_app.imaging import decode
from nsfw_app.imaging.decode import Frame, Limits
from nsfw_app.models import build_files
from nsfw_app.models.artifacts import ModelVersion, OptimizedModel
from nsfw_app.models.build_files import Attempt
from nsfw_app.models.categories import BY_CARD, CategoryMap
from nsfw_app.models.classifier import Classifier, Pixels, nsfw_score
from nsfw_app.models.loader import ModelLoader, ModelStatus
from nsfw_app.records import (
    Background,
    Detail,
    ImageProblem,
    JudgedImage,
    ModelIdentity,
    Policy,
    Prediction,
)
from nsfw_app.rules.detail import DetailWhen
from nsfw_app.rules.policy import judge


def _itself(identity: ModelIdentity) -> frozenset[str]:
    return frozenset({identity.backend})


@dataclass(frozen=True, slots=True)
class DetailModel:
    """The detail model of a server or command.

    Attributes:
        loader: Source of the model.
        when: Which images it is asked about.
        categories: Which of its labels belong to which categories.
        artifacts_dir: Directory of optimized models; None where there are none.
        backends_of: The backends whose predictions count as those of a model.
    """

    loader: ModelLoader
    when: DetailWhen
    categories: CategoryMap = BY_CARD
    artifacts_dir: Path | None = None
    backends_of: Callable[[ModelIdentity], frozenset[str]] = _itself

    @property
    def status(self) -> ModelStatus:
        """State of loading it."""
        return self.loader.status

    @property
    def optimized_models(self) -> list[OptimizedModel]:
        """Optimized models of it, the fastest first."""
        classifier = self.status.classifier
        if classifier is None or self.artifacts_dir is None:
            return []
        return build_files.find(self.artifacts_dir, ModelVersion.of(classifier.identity))

    @property
    def optimization_attempts(self) -> list[Attempt]:
        """Attempts of the latest `optimize` of it."""
        classifier = self.status.classifier
        if classifier is None or self.artifacts_dir is None:
            return []
        return build_files.read_attempts(self.artifacts_dir, ModelVersion.of(classifier.identity))

    @property
    def identity(self) -> ModelIdentity | None:
        """The exact model, once it is loaded."""
        classifier = self.status.classifier
        return classifier.identity if classifier else None

    def wait(self) -> ModelStatus:
        """Wait until loading it has succeeded or failed; starts it where needed."""
        self.loader.start()
        return self.loader.join()

    def wants(self, image: JudgedImage, policy: Policy) -> bool:
        """Whether it is asked about an image, by the action of the first model's score alone."""
        return self.wants_score(
            image.prediction.nsfw_score, policy, incomplete=image.info.incomplete
        )

    def wants_score(self, score: float, policy: Policy, *, incomplete: bool = False) -> bool:
        """Whether it is asked about an image with this score of the first model."""
        return self.when.includes(judge(score, policy, incomplete=incomplete).action)

    def prepare(self, frames: Sequence[Frame]) -> Sequence[Pixels]:
        """Its input for decoded frames of full size; none while it cannot prepare them."""
        classifier = self.status.classifier
        if classifier is None:
            return ()
        try:
            return [classifier.prepare(frame.image) for frame in frames]
        except ModelError:  # `judge` tries again, and reports it
            return ()

    def judge(
        self,
        data: bytes,
        image: JudgedImage,
        *,
        name: str,
        limits: Limits,
        prepared: Pixels | None = None,
    ) -> JudgedImage:
        """The image with what the model says of it, or with the problem.

        Args:
            data: The file's bytes.
            image: With the first model's prediction.
            name: The file's name in messages.
            limits: Largest input accepted.
            prepared: The model's input for the frame; None decodes the file again.

        Raises:
            Overloaded: Too many images are waiting for it.
        """
        prediction = image.prediction
        try:
            classifier = self.loader.classifier
            if prepared is None:
                prepared = _prepared(classifier, data, prediction, name=name, limits=limits)
            (probabilities,) = classifier.predict_prepared([prepared])
            nsfw_score(probabilities, classifier.roles)  # raises where one is not a number
        except (ImageError, ModelError) as error:
            problem = ImageProblem(error.kind, str(error))
            return replace(image, detail=Detail(self.status.wanted, problem=problem))
        identity = classifier.identity
        categories = self.categories.judge(identity.model, probabilities)
        return replace(image, detail=Detail(identity.model, identity, probabilities, categories))


@dataclass(frozen=True, slots=True)
class Models:
    """The models of a server, command or worker: the first one, and the detail model."""

    loader: ModelLoader
    detail: DetailModel | None = None

    @property
    def message(self) -> str:
        """Sentences about fallbacks of both, or ''."""
        statuses = [self.loader.status, *([self.detail.status] if self.detail else [])]
        return " ".join(status.message for status in statuses if status.message)


def nearest(frames: Sequence[Frame], number: int, background: Background) -> int:
    """The position of the frame with this number and background; else of the nearest one."""
    return min(
        range(len(frames)),
        key=lambda at: (abs(frames[at].number - number), frames[at].background != background),
    )


def _prepared(
    classifier: Classifier, data: bytes, prediction: Prediction, *, name: str, limits: Limits
) -> Pixels:
    with classifier.cpu_slots.acquire():
        sha256 = prediction.image_sha256
        frames = decode.decode(data, name=name, limits=limits, sha256=sha256).frames
        at = nearest(frames, prediction.frame, prediction.background)
        return classifier.prepare(frames[at].image)
