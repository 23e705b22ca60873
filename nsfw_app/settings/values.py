"""Types of settings: lists, separated by commas, and names of backends."""

from typing import Literal

BackendName = Literal[
    "auto",
    "torch",
    "openvino-int8",
    "openvino-int8-mixed",
    "openvino",
    "openvino-fp32",
    "onnx-int8",
    "onnx",
]


def split_items(value: object) -> object:
    """The values of `a,b`, as a tuple; other types than strings are returned as they are."""
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return value


def split_pairs(value: object) -> object:
    """The pairs of `a=1,b=2`, as a dict; other types than strings are returned as they are."""
    if isinstance(value, str):
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        return {name.strip(): item.strip() for name, _, item in pairs}
    return value
