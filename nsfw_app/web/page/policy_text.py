"""Text of the moderation policy, parsed from Markdown into a tree that the page renders.

No markup is sent: HTML in the file becomes text, an image becomes its description, and a link
leads to another site or is removed.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fastapi import APIRouter
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from nsfw_app.errors import NotFound
from nsfw_app.web.auth.callers import Visitor

Part = str | dict[str, Any]

# Node types that keep their HTML tag.
KEPT_TAGS = frozenset(
    """paragraph bullet_list ordered_list list_item strong em s blockquote hr
    table thead tbody tr th td""".split()
)
LINKS = ("http://", "https://", "mailto:")
HEADING_SHIFT = 2  # levels; the dialog has a heading of its own
LOWEST_HEADING = 6


def policy_routes(markdown: str | None) -> APIRouter:
    """`GET /desk/policy-text`.

    Args:
        markdown: The text, read at start; None if NSFW_POLICY_TEXT is not set.
    """
    router = APIRouter()
    parts = None if markdown is None else parts_of(markdown)

    @router.get("/policy-text")
    def policy_text(_: Visitor) -> dict[str, list[Part]]:
        if parts is None:
            raise NotFound("No policy text: NSFW_POLICY_TEXT is not set.")
        return {"parts": parts}

    return router


def parts_of(markdown: str) -> list[Part]:
    """Parse Markdown: a string is text, a dict has `tag` and `children`."""
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    return list(_parts(SyntaxTreeNode(parser.parse(markdown)).children))


def _parts(nodes: Iterable[SyntaxTreeNode]) -> Iterator[Part]:
    for node in nodes:
        yield from _part(node)


def _part(node: SyntaxTreeNode) -> Iterator[Part]:
    if node.type in LEAVES:
        yield LEAVES[node.type](node)
        return
    children = list(_parts(node.children))
    tag, attributes = _tag(node)
    if tag:
        yield {"tag": tag, "children": children, **attributes}
    else:
        yield from children


def _tag(node: SyntaxTreeNode) -> tuple[str, dict[str, Any]]:
    """Tag and attributes of a node; an empty tag if only its children are rendered."""
    if node.type == "heading":
        return f"h{min(int(node.tag[1:]) + HEADING_SHIFT, LOWEST_HEADING)}", {}
    if node.type == "link":
        href = str(node.attrs["href"])
        return ("a", {"href": href}) if href.lower().startswith(LINKS) else ("", {})
    if node.type in KEPT_TAGS and not node.hidden:
        return node.tag, {"start": node.attrs["start"]} if "start" in node.attrs else {}
    return "", {}


def _element(tag: str, *children: Part) -> dict[str, Any]:
    return {"tag": tag, "children": list(children)}


LEAVES: dict[str, Callable[[SyntaxTreeNode], Part]] = {
    "text": lambda node: node.content,
    "image": lambda node: node.content,
    "softbreak": lambda _: "\n",
    "hardbreak": lambda _: _element("br"),
    "code_inline": lambda node: _element("code", node.content),
    "code_block": lambda node: _element("pre", _element("code", node.content)),
    "fence": lambda node: _element("pre", _element("code", node.content)),
}
