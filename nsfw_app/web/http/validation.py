"""Messages for validation errors: the parameter, its value, and what is allowed."""

from collections.abc import Mapping, Sequence
from typing import Any

MAX_SHOWN = 60  # characters of a value in a message
JSON_TYPES: Mapping[type, str] = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}
EXPECTED: Mapping[str, str] = {
    "string_type": "a string",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "int_type": "a number",
    "float_type": "a number",
}


def describe(error: Mapping[str, Any], path: Sequence[int | str]) -> str:
    """The message for one of pydantic's errors.

    Args:
        error: An entry of `ValidationError.errors()`.
        path: Names and indices of the value in the request, outermost first.
    """
    where, value, context = _format_path(path), error.get("input"), error.get("ctx", {})
    match error["type"]:
        case "missing":
            return f"{where} is missing."
        case "json_invalid":
            return f"The body is not valid JSON: {context['error']}."
        case "bool_parsing" | "bool_type":
            return f"{where} is {shown(value)}. Use true or false; 1, 0, yes, no, on, off work too."
        case "literal_error" | "enum":
            return f"{where} is {shown(value)}. Allowed: {context['expected']}."
        case kind if kind in EXPECTED:
            given = JSON_TYPES.get(type(value), type(value).__name__)
            return f"{where} should be {EXPECTED[kind]}, not {given}."
        case _:
            return f"{where}: {error['msg'].removesuffix('.')}."


def _format_path(path: Sequence[int | str]) -> str:
    """Format a path: `input[0].image_url.url`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".") or "The body"


def shown(value: object) -> str:
    """Format a value for a message: quoted, escaped and shortened."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
