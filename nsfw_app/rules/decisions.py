"""Rules for decisions: which are refused, and which restrict an image. Pure."""

from dataclasses import dataclass

from nsfw_app.decision import NewDecision
from nsfw_app.errors import Refusal
from nsfw_app.records import Category, Label, Tab


@dataclass(frozen=True, slots=True)
class DecisionRules:
    """Tabs that refuse decisions on unseen images, and whether a disagreement needs a reason."""

    require_seen: frozenset[Tab] = frozenset({Tab.QUEUE, Tab.RELABEL})
    require_reason: bool = False

    def refusal(
        self,
        new: NewDecision,
        *,
        model_label: Label,
        seen: bool,
        viewable: bool,
        queued: bool = False,
        blind: bool = False,
    ) -> Refusal | None:
        """Why a decision is refused; None where it is not.

        Args:
            new: The decision.
            model_label: The model's label at the threshold that the reviewer saw.
            seen: Whether this reviewer revealed the image.
            viewable: Whether the image has a preview that the reviewer can look at.
            queued: Whether it is about a queue entry; the rules of the Queue tab then apply,
                also when the request names another tab.
            blind: Whether the model's label is hidden. No reason is then required: asking for
                one would reveal that the reviewer disagrees.
        """
        tab = Tab.QUEUE if queued else new.tab
        if refusal := self.view_refusal(tab, seen=seen, viewable=viewable):
            return refusal
        missing = contradicts(new.label, model_label) and not new.reasons
        return Refusal.REASON_REQUIRED if self.require_reason and missing and not blind else None

    def view_refusal(self, tab: Tab | None, *, seen: bool, viewable: bool) -> Refusal | None:
        """Why no decision about an image is possible in a tab; None where one is."""
        if not viewable:
            return Refusal.NO_PREVIEW
        return Refusal.NOT_SEEN if tab in self.require_seen and not seen else None


def contradicts(label: Label, model_label: Label) -> bool:
    """Whether a reviewer's label is a disagreement with the model's. Unsure never is."""
    return label is not Label.UNSURE and label is not model_label


def categories_within(
    label: Label, categories: tuple[Category, ...] | None
) -> tuple[Category, ...] | None:
    """Those of an image's categories that its label allows; None where none were asked for.

    A label that was corrected to normal leaves out what reviewers named when they called it unsafe.
    """
    if categories is None or label is not Label.NORMAL:
        return categories
    return tuple(each for each in categories if each in NewDecision.SAFE_CATEGORIES)
