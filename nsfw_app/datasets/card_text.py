"""Names in cards, which are Markdown that begins with YAML: none can become markup."""

import json


def yaml_text(text: str) -> str:
    """A text as a value of YAML, quoted: unquoted, a name may be a number, or end the value."""
    return json.dumps(_printable(text), ensure_ascii=False)


def markdown_text(text: str) -> str:
    """A text in Markdown that cannot leave its line or its cell of a table, or become markup."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in _printable(text))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
