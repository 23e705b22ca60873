"""Recorded preprocessing has the output of the model's own image processor."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nsfw_app.errors import ModelUnsupported
from nsfw_app.models.preprocessing import Preprocessing
from tests.unit.test_classifiers import package_image

IMAGES = [
    package_image("skimage", "data/astronaut.png"),
    package_image("skimage", "data/rocket.jpg"),
    package_image("sklearn", "datasets/images/china.jpg").crop((0, 0, 41, 300)),
    Image.new("RGB", (1, 1), (200, 10, 10)),
]


def processors() -> dict[str, Any]:
    """Image processors of several model types, without torchvision."""
    from transformers import CLIPImageProcessorPil, ViTImageProcessorPil

    return {
        "stretched": ViTImageProcessorPil(),
        "stretched, wide": ViTImageProcessorPil(size={"height": 96, "width": 160}),
        "bicubic": ViTImageProcessorPil(resample=3),
        "unscaled": ViTImageProcessorPil(do_normalize=False),
        "cropped": CLIPImageProcessorPil(),
        "cropped, smaller": CLIPImageProcessorPil(
            size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224}
        ),
    }


PROCESSORS = processors()


@pytest.mark.parametrize("kind", PROCESSORS)
@pytest.mark.parametrize("number", range(len(IMAGES)))
def test_the_same_pixels_as_the_processor(kind: str, number: int) -> None:
    """Equal without a crop; with one, within the rounding of its edges to whole pixels."""
    processor, image = PROCESSORS[kind], IMAGES[number]
    expected = processor(image, return_tensors="np")["pixel_values"][0]
    record = Preprocessing.of(processor.to_dict())
    prepared = record.prepare(image)
    assert prepared.shape == record.shape
    assert prepared.dtype == np.uint8
    values = prepared.transpose(2, 0, 1) * record.scale
    mean, std = (np.array(v)[:, None, None] for v in (record.mean, record.std))
    ours = (values - mean) / std
    if "cropped" in kind:
        assert np.abs(ours - expected).mean() < 0.05
    else:
        assert np.abs(ours - expected).max() < 1e-5


def test_large_images_are_resized_in_two_steps() -> None:
    """For 12 megapixels the result is within 2 gray levels of a resize in one step."""
    image = package_image("skimage", "data/retina.jpg").resize(
        (4000, 3000), Image.Resampling.BICUBIC
    )
    record = Preprocessing.of(PROCESSORS["stretched"].to_dict())
    one_step = image.resize((224, 224), Image.Resampling.BILINEAR)
    difference = np.abs(record.prepare(image).astype(int) - np.asarray(one_step, dtype=int))
    assert difference.max() <= 2


@pytest.mark.parametrize("kind", PROCESSORS)
def test_a_record_survives_json(kind: str) -> None:
    """Written as JSON and read again it is equal."""
    record = Preprocessing.of(PROCESSORS[kind].to_dict())
    assert Preprocessing.from_json(json.loads(json.dumps(record.to_json()))) == record


@pytest.mark.parametrize(
    "changes",
    [
        {"do_resize": False},
        {"do_pad": True},
        {"size": {"longest_edge": 224}},
        {"size": {"shortest_edge": 224}},
        {"size": {"shortest_edge": 200}, "do_center_crop": True,
         "crop_size": {"height": 224, "width": 224}},
    ],
)  # fmt: skip
def test_what_cannot_be_recorded_is_refused(changes: dict[str, Any]) -> None:
    """A processor with a step that cannot be recorded is refused."""
    with pytest.raises(ModelUnsupported, match="cannot be recorded"):
        Preprocessing.of(PROCESSORS["stretched"].to_dict() | changes)


@pytest.mark.parametrize("kind", PROCESSORS)
def test_a_correct_record_passes_its_check(kind: str) -> None:
    """The record of each processor matches that processor's output."""
    record = Preprocessing.of(PROCESSORS[kind].to_dict())
    for image in IMAGES[:3]:
        record.check(image, PROCESSORS[kind](image, return_tensors="np")["pixel_values"][0])


@pytest.mark.parametrize(
    "wrong", [{"mean": (0.4, 0.5, 0.6)}, {"shorter": 400, "crop_width": 224}, {"width": 160}]
)
def test_a_wrong_record_fails_its_check(wrong: dict[str, Any]) -> None:
    """A processor that differs from its configuration is detected."""
    processor, image = PROCESSORS["stretched"], IMAGES[0]
    expected = processor(image, return_tensors="np")["pixel_values"][0]
    record = replace(Preprocessing.of(processor.to_dict()), **wrong)
    with pytest.raises(ModelUnsupported, match="cannot be recorded"):
        record.check(image, expected)
