"""Explanations: maps of models whose evidence is known, their test, and their cost."""

import hashlib
import io
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nsfw_app.explain_errors import ExplanationCancelled, MethodUnavailable
from nsfw_app.models.backends.open_nsfw import OpenNSFW
from nsfw_app.models.explain import covered_scores, maps
from nsfw_app.models.explain.cells import Cells
from nsfw_app.models.explain.covered_scores import CHUNK, CoveredScores
from nsfw_app.models.explain.explainer import explain, marked_cells
from nsfw_app.models.explain.explanation import Explanation, Method, sentence
from nsfw_app.models.explain.faithfulness import auc, p_value
from nsfw_app.models.explain.random_versions import RandomVersions
from nsfw_app.models.image_processor import visible_box
from nsfw_app.models.preprocessing import Preprocessing
from nsfw_app.models.scheduler import DynamicBatcher, UnbatchedClassifier
from nsfw_app.records import LabelRole
from tests.support import patch_vit, tiny_vit
from tests.support.fakes import ExplainableClassifier, corner_image

IMAGES = 200
LEAST_SHARE = 0.95


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> DynamicBatcher:
    """The ViT that looks for the patch, in PyTorch."""
    backend = tiny_vit.torch_backend(patch_vit.trained(tmp_path_factory))
    return DynamicBatcher(backend, max_waiting=9, max_batch=64)


def highest(values: Sequence[Sequence[float | None]]) -> int:
    """The number of the cell with the highest value."""
    return int(np.argmax([0.0 if v is None else v for row in values for v in row]))


def corner() -> Image.Image:
    """The image that `ExplainableClassifier` scores by its corner."""
    return Image.open(io.BytesIO(corner_image())).convert("RGB")


def test_the_model_finds_the_patch(classifier: DynamicBatcher) -> None:
    """Else its evidence would not be known."""
    cells = [None, *range(0, 49, 4)]
    images = [patch_vit.image_with_patch(cell, seed=i) for i, cell in enumerate(cells)]
    normal, *others = [row["nsfw"] for row in classifier.predict(images)]
    assert normal < 0.1
    assert min(others) > 0.9


def test_attribution_finds_the_patch(classifier: DynamicBatcher) -> None:
    """The highest value is in the patch in nearly all images."""
    found = 0
    for number in range(IMAGES):
        image = patch_vit.image_with_patch(number % 49, seed=number)
        patches = classifier.attribution(classifier.prepare(image))
        assert patches is not None
        found += highest(patches.tolist()) == number % 49
    assert found >= LEAST_SHARE * IMAGES


@pytest.mark.parametrize(
    ("images", "seconds", "least"),
    [
        pytest.param(IMAGES, 0, 0.9, id="fewest versions"),
        pytest.param(50, 600, LEAST_SHARE, id="all versions"),
        pytest.param(
            IMAGES, 600, LEAST_SHARE, id="all images and versions", marks=pytest.mark.exhaustive
        ),
    ],
)
def test_rise_finds_the_patch(
    classifier: DynamicBatcher,
    monkeypatch: pytest.MonkeyPatch,
    images: int,
    seconds: float,
    least: float,
) -> None:
    """The highest value is in the patch in nearly all images; a slow model scores few versions."""
    monkeypatch.setattr(covered_scores, "CHUNK", 64)  # so small a model is slow in small batches
    found = 0
    for number in range(images):
        scores = CoveredScores(patch_vit.image_with_patch(number % 49, seed=number), classifier)
        cells, rng = scores.cells(7, 7), np.random.default_rng(0)
        until = time.perf_counter() + seconds
        versions = RandomVersions.scored(scores, cells, until=until, reserved=0, rng=rng)
        found += int(np.argmax(versions.rise())) == number % 49
    assert found >= least * images


@pytest.mark.parametrize("method", Method)
def test_each_method_explains_the_patch(classifier: DynamicBatcher, method: Method) -> None:
    """The marked area is the patch, and the sentence has the score with it covered."""
    image = patch_vit.image_with_patch(17, seed=1)
    explanation = explain(image, classifier, method=method)
    assert explanation.method is method
    assert explanation.informative
    assert highest(explanation.values) == 17
    assert np.array(explanation.marked).flat[17]
    assert explanation.score > 0.9
    assert explanation.score_covered < 0.5
    before, after = f"{explanation.score:.2f}", f"{explanation.score_covered:.2f}"
    assert explanation.sentence == (
        f"Covering the marked area lowers the score from {before} to {after}."
    )
    assert explanation.faithfulness.deletion_auc < explanation.faithfulness.random_deletion_auc


def test_attribution_leaves_predictions_as_they_are(classifier: DynamicBatcher) -> None:
    """The copy for attribution shares the weights, and changes neither them nor the scores."""
    images = [patch_vit.image_with_patch(cell, seed=3) for cell in (None, 5)]
    before = classifier.predict(images)
    for image in images:
        classifier.attribution(classifier.prepare(image))
    assert classifier.predict(images) == before


def test_a_vit_is_explained_by_attribution(classifier: DynamicBatcher) -> None:
    """It is the default of a ViT in PyTorch; other models have none."""
    image = patch_vit.image_with_patch(17, seed=1)
    assert explain(image, classifier, budget_s=0).method is Method.ATTRIBUTION
    fake = ExplainableClassifier()
    assert explain(corner(), fake, budget_s=0).method is Method.RISE
    with pytest.raises(MethodUnavailable, match="needs a ViT in PyTorch"):
        explain(corner(), fake, method=Method.ATTRIBUTION)


class Constant(ExplainableClassifier):
    """A model that ignores the image."""

    def predict_prepared(self, prepared: Sequence[object], **_: object) -> list[dict[str, float]]:
        """The same score for each."""
        return [{"normal": 0.3, "nsfw": 0.7}] * len(prepared)


@pytest.mark.parametrize("method", [Method.RISE, Method.OCCLUSION])
def test_a_model_that_ignores_the_image_has_no_map(method: Method) -> None:
    """The explanation says so instead of marking an area."""
    explanation = explain(corner(), Constant(), method=method)
    assert not explanation.informative
    assert "no better than a random one" in explanation.sentence
    assert explanation.score == explanation.score_covered == pytest.approx(0.7)


class Noise(ExplainableClassifier):
    """A model whose score depends on all of the image at once: a hash of its pixels."""

    def predict_prepared(self, prepared: Sequence[object], **_: object) -> list[dict[str, float]]:
        """A number that looks random, the same for the same pixels."""
        digests = [hashlib.sha256(np.asarray(pixels).tobytes()).digest() for pixels in prepared]
        scores = [int.from_bytes(digest[:6]) / 2**48 for digest in digests]
        return [{"normal": 1 - score, "nsfw": score} for score in scores]


def test_a_model_without_evidence_is_rarely_explained() -> None:
    """The error rate of the test is the one that it promises, up to chance."""
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (28, 28, 3), dtype=np.uint8)) for _ in range(60)]
    shown = sum(explain(image, Noise(), budget_s=0).informative for image in images)
    assert shown <= 8  # of 60 with an error rate of 5 %: more in 0.5 % of all cases


class Raising(ExplainableClassifier):
    """A model of which only covering the corner matters: that raises the score. Else noise."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._rng = np.random.default_rng(seed)

    def predict_prepared(self, prepared: Sequence[object], **_: object) -> list[dict[str, float]]:
        """About 0.3, and 0.8 where the corner is darker than in the image."""
        scores = []
        for pixels in prepared:
            is_covered = np.asarray(pixels)[:4, :4, 0].mean() < 200
            scores.append(0.3 + 0.5 * is_covered + float(self._rng.uniform(-0.05, 0.05)))
        return [{"normal": 1 - score, "nsfw": score} for score in scores]


def test_what_raises_the_score_does_not_make_a_map() -> None:
    """Only what lowers it is shown, so only that counts in the test."""
    shown = sum(explain(corner(), Raising(seed), budget_s=0).informative for seed in range(20))
    assert shown <= 3  # of 20 with an error rate of 5 %: more in 2 % of all cases


def test_more_time_means_more_versions() -> None:
    """A fast model is asked for more versions, and no more than are of use."""
    few = explain(corner(), ExplainableClassifier(), budget_s=0)
    many = explain(corner(), ExplainableClassifier(), budget_s=60)
    assert (few.scored, few.faithfulness.random_maps) == (2 + 2 * 19 + 2 + 1, 19)
    assert (many.scored, many.faithfulness.random_maps) == (2 + 3 * 38 + 3 + 1, 38)


def test_an_explanation_ends_when_it_is_cancelled() -> None:
    """After the batch that is computed; batches are small."""
    fake = ExplainableClassifier()
    parts: list[float] = []

    def progress(part: float) -> bool:
        parts.append(part)
        return len(parts) < 3

    with pytest.raises(ExplanationCancelled):
        explain(corner(), fake, progress=progress)
    assert fake.batches == [2, CHUNK, CHUNK]
    assert parts == sorted(parts)
    assert parts[-1] < 1


def test_the_same_image_has_the_same_map() -> None:
    """Random orders are drawn from a constant seed."""
    one, other = (explain(corner(), ExplainableClassifier(), budget_s=0) for _ in range(2))
    assert (one.values, one.marked) == (other.values, other.marked)


def test_json_is_read_back() -> None:
    """Values are rounded to three decimals, all others stay."""
    explanation = explain(corner(), ExplainableClassifier(), budget_s=0)
    values = json.loads(json.dumps(explanation.to_json()))
    again = Explanation.from_json(values)
    assert again.to_json() == values
    assert again.marked == explanation.marked
    assert np.allclose(np.array(again.values), np.array(explanation.values), atol=0.0005)


def test_marked_cells_have_half_of_the_evidence() -> None:
    """The fewest cells; none where there is no evidence."""
    values = np.array([[0.1, 0.5], [0.4, 0.0]])
    assert marked_cells(values).tolist() == [[False, True], [False, False]]
    values = np.array([[0.2, 0.45], [0.35, 0.0]])
    assert marked_cells(values).tolist() == [[False, True], [True, False]]
    assert not marked_cells(np.zeros((2, 2))).any()


def test_the_sentence_shows_the_difference() -> None:
    """Two decimals, three where two are the same; why no map is shown where it is too small."""
    assert sentence(0.84, 0.31, better=True).endswith("from 0.84 to 0.31.")
    assert sentence(0.014, 0.012, better=True).endswith("from 0.014 to 0.012.")
    assert sentence(0.0142, 0.0137, better=True) == (
        "Covering the marked area lowers the score by less than 0.001, so no map is shown."
    )
    assert "no better than a random one" in sentence(0.84, 0.84, better=False)


def test_cells_lie_over_the_whole_image() -> None:
    """A cropped input shows a part of the border cells, or nothing of them."""
    prepared = np.zeros((8, 8, 3), dtype=np.uint8)
    cells = Cells.over(prepared, (0.25, 0.0, 0.75, 1.0), rows=4, columns=4)
    assert cells.visible.tolist() == [[False, True, True, False]] * 4
    covered = np.zeros((4, 4), dtype=np.bool_)
    covered[0, 1] = True
    cover = np.full_like(prepared, 255)
    changed = cells.cover(prepared, cover, covered)
    assert changed[:2, :4].min() == 255
    assert changed.sum() == 255 * 2 * 4 * 3
    assert cells.average(np.arange(64.0).reshape(8, 8))[0].tolist() == [0.0, 5.5, 9.5, 0.0]


def test_channels_may_come_first() -> None:
    """As in the inputs of PyTorch."""
    prepared = np.zeros((3, 8, 8), dtype=np.float32)
    cells = Cells.over(prepared, (0.0, 0.0, 1.0, 1.0), rows=2, columns=2)
    covered = np.array([[False, True], [False, False]])
    changed = cells.cover(prepared, np.ones_like(prepared), covered)
    assert changed[:, :4, 4:].min() == 1
    assert changed.sum() == 3 * 16


@pytest.mark.parametrize("size", [(640, 480), (300, 900)])
def test_backends_say_which_part_they_see(size: tuple[int, int]) -> None:
    """A center crop of the shorter side; a stretched image; the crop of Open-NSFW."""
    common = {"do_resize": True, "resample": 2}
    cropping = Preprocessing.of(
        common
        | {"do_center_crop": True, "size": {"shortest_edge": 256}}
        | {"crop_size": {"height": 224, "width": 224}}
    )
    left, top, right, bottom = cropping.visible_box(size)
    width, height = (right - left) * size[0], (bottom - top) * size[1]
    assert width == pytest.approx(height) == pytest.approx(min(size) * 224 / 256)
    stretching = Preprocessing.of(common | {"size": {"height": 224, "width": 224}})
    assert stretching.visible_box(size) == (0, 0, 1, 1)
    box = OpenNSFW.visible_box(None, size)  # type: ignore[arg-type]
    assert box == (1 / 16, 1 / 16, 15 / 16, 15 / 16)


def test_the_crop_of_timm_is_read_from_its_configuration() -> None:
    """Of a wide image, the square in its center; another mode of cropping is refused."""
    data = {"input_size": [3, 384, 384], "mean": [0.5] * 3, "std": [0.5] * 3}
    config = data | {"crop_pct": 1.0, "crop_mode": "center"}
    box = visible_box({"data_config": config}, (900, 300))
    assert box == pytest.approx((1 / 3, 0, 2 / 3, 1))
    box = visible_box({"data_config": config | {"crop_pct": 0.75}}, (900, 300))
    assert box == pytest.approx((3 / 8, 1 / 8, 5 / 8, 7 / 8))
    assert visible_box({"data_config": config | {"crop_mode": "squash"}}, (900, 300)) == (
        0,
        0,
        1,
        1,
    )
    for unknown in ({"data_config": config | {"crop_mode": "border"}}, {"do_resize": True}):
        with pytest.raises(MethodUnavailable, match="which part of an image the model sees"):
            visible_box(unknown, (900, 300))


def test_deletion_auc() -> None:
    """By hand."""
    assert auc([0.0, 0.5, 1.0], [1.0, 0.0, 0.0]) == pytest.approx(0.25)


def test_permutations_say_whether_scores_depend_on_cells() -> None:
    """A statistic that no permutation reaches is rare; one that all reach is no evidence."""
    rng = np.random.default_rng(0)
    scores = np.linspace(0, 1, 20)[:, None]
    rising = p_value(lambda s: s[..., 0] @ np.arange(20.0), scores, rng)
    assert rising == pytest.approx(0.001)
    assert p_value(lambda s: np.zeros(len(s)), scores, rng) == 1.0


def test_rise_compares_visible_with_covered() -> None:
    """The cell that lowers every score has the highest value."""
    rng = np.random.default_rng(0)
    visible = np.ones((5, 5), dtype=np.bool_)
    orders = maps.random_orders(visible, 60, rng)
    covered = np.array([[maps.covered_first(order, 0.3, (5, 5)).ravel()] for order in orders])
    scores = np.where(covered[..., 13], 0.1, 0.9)
    values = maps.rise(covered.astype(float), scores)
    assert np.argmax(values) == 13
    assert np.allclose(maps.rise(covered.astype(float), np.stack([scores, scores])), values)


def test_open_nsfw_is_explained() -> None:
    """The embedded model, on a photograph: a grid over the whole image, with its backend."""
    backend = OpenNSFW(threads=1)
    classifier = UnbatchedClassifier(backend, max_waiting=9)
    path = Path(__file__).parents[2] / "nsfw_app/ui/assets/review/samples/astronaut.jpg"
    with Image.open(path) as image:
        explanation = explain(image.convert("RGB"), classifier, budget_s=0)
    assert (explanation.rows, explanation.columns) == (7, 7)
    assert explanation.backend == "onnxruntime"
    assert None not in [value for row in explanation.values for value in row]
    assert set(backend.roles.values()) == {LabelRole.SAFE, LabelRole.UNSAFE}


def test_covering_everything_removes_details() -> None:
    """What covers cells is the image without details, with its colors."""
    fake = ExplainableClassifier()
    scores = CoveredScores(corner(), fake)
    cells = scores.cells(7, 7)
    whole, covered = scores.of(cells, [np.zeros((7, 7), np.bool_), np.ones((7, 7), np.bool_)])
    assert whole > 0.9
    assert covered < 0.7
