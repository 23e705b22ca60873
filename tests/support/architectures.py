"""Image-classification models of ten architectures with random weights, small enough for tests."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.shared_files import made_once
from tests.support.tiny_vit import tinted_image

LABELS: dict[str, Any] = {
    "id2label": {0: "normal", 1: "nsfw"},
    "label2id": {"normal": 0, "nsfw": 1},
}
# Where a processor's defaults do not fit the model's default configuration.
REAL_PROCESSORS: dict[str, dict[str, Any]] = {
    "convnext": {"size": {"shortest_edge": 224}},
    "resnet": {"size": {"shortest_edge": 224}},
    "beit": {"do_center_crop": True, "size": {"height": 256, "width": 256}},
}
SPREAD = 1.5  # standard deviation of the log-odds over images, so that scores spread over [0, 1]


def _transformer(**values: Any) -> dict[str, Any]:
    return {
        "image_size": 32,
        "patch_size": 8,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    } | values


def architectures() -> dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """By name: configuration class, processor class, and the arguments of both."""
    crop = {"height": 32, "width": 32}
    window = {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [1, 1]}
    return {
        "vit": ("ViT", "ViT", _transformer(), {"size": crop}),
        "deit": (
            "DeiT",
            "DeiT",
            _transformer(),
            {"size": {"height": 36, "width": 36}, "crop_size": crop},
        ),
        "beit": (
            "Beit",
            "Beit",
            _transformer(),
            {"size": {"height": 36, "width": 36}, "crop_size": crop, "do_center_crop": True},
        ),
        "siglip": (
            "Siglip",
            "Siglip",
            {"vision_config": _transformer(), "text_config": _transformer()},
            {"size": crop},
        ),
        "dinov2": (
            "Dinov2",
            "Bit",
            _transformer(patch_size=8),
            {"size": {"shortest_edge": 36}, "crop_size": crop},
        ),
        "swin": ("Swin", "ViT", window | {"num_heads": [2, 2], "window_size": 4}, {"size": crop}),
        "convnext": (
            "ConvNext",
            "ConvNext",
            {"hidden_sizes": [16, 32], "depths": [1, 1], "num_stages": 2, "image_size": 32},
            {"size": {"shortest_edge": 32}},
        ),
        "resnet": (
            "ResNet",
            "ConvNext",
            {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1]},
            {"size": {"shortest_edge": 32}},
        ),
        "mobilenet_v2": (
            "MobileNetV2",
            "MobileNetV2",
            {"image_size": 32, "depth_multiplier": 0.35},
            {"size": {"shortest_edge": 36}, "crop_size": crop},
        ),
        "focalnet": (
            "FocalNet",
            "Bit",
            {**window, "hidden_sizes": [16, 32], "focal_levels": [1, 1], "focal_windows": [3, 3]},
            {"size": {"shortest_edge": 36}, "crop_size": crop},
        ),
    }


def save(name: str, directory: Path, *, real: bool = False) -> Path:
    """Save a model of an architecture with its image processor.

    Args:
        name: A key of `architectures`.
        directory: Where to save it.
        real: Whether it has the size of the published checkpoint.
    """
    import torch
    import transformers

    kind, processor, values, prepared = architectures()[name]
    if real:
        values, prepared = {}, REAL_PROCESSORS.get(name, {})
    config = getattr(transformers, f"{kind}Config")(**values, **LABELS)
    prepare = getattr(transformers, f"{processor}ImageProcessorPil")(**prepared)
    images = [tinted_image(i / 16, seed=i) for i in range(16)]
    pixels = prepare(images, return_tensors="pt")["pixel_values"]
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(0)
        model = getattr(transformers, f"{kind}ForImageClassification")(config).eval()
        for layer in model.modules():
            if isinstance(
                layer, torch.nn.Conv2d
            ):  # the default scale is so small that activations vanish
                torch.nn.init.kaiming_normal_(layer.weight)
        head = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)][-1]
        odds = model(pixel_values=pixels).logits.diff(dim=1)
        head.weight.mul_(SPREAD / odds.std())
        head.bias[1] -= model(pixel_values=pixels).logits.diff(dim=1).mean()
        model.save_pretrained(directory)
    prepare.save_pretrained(directory)
    return directory


def saved(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a saved architecture, created once per run; tests only read it."""
    return made_once(tmp_path_factory, f"tiny-{name}", lambda directory: save(name, directory))
