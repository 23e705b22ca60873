"""Rules for decisions: which are refused, and which restrict an image. Pure."""

from dataclasses import dataclass

from nsfw_app.errors import Refusal
from nsfw_app.records import Label, NewDecision, Tab


@dataclass(frozen=True, slots=True)
class DecisionRules:
    """Tabs that refuse decisions on unseen images, and whether a disagreement needs a reason."""

    require_seen: frozenset[Tab] = frozenset({Tab.QUEUE, Tab.RELABEL})
    require_reason: bool = False

    def refusal(
        self, new: NewDecision, *, model_label: Label, seen: bool, viewable: bool
    ) -> Refusal | None:
        """Why a decision is refused; None where it is not.

        Args:
            new: The decision.
            model_label: The model's label at the threshold that the reviewer saw.
            seen: Whether this reviewer revealed the image.
            viewable: Whether the image has a preview that the reviewer can look at.
        """
        if refusal := self.view_refusal(new.tab, seen=seen, viewable=viewable):
            return refusal
        if self.require_reason and contradicts(new.label, model_label) and not new.reasons:
            return Refusal.REASON_REQUIRED
        return None

    def view_refusal(self, tab: Tab | None, *, seen: bool, viewable: bool) -> Refusal | None:
        """Why no decision about an image is possible in a tab; None where one is."""
        if not viewable:
            return Refusal.NO_PREVIEW
        return Refusal.NOT_SEEN if tab in self.require_seen and not seen else None


def contradicts(label: Label, model_label: Label) -> bool:
    """Whether a reviewer's label is a disagreement with the model's. Unsure never is."""
    return label is not Label.UNSURE and label is not model_label
