"""When the detail model is asked about an image: by the action of the first model's score."""

from enum import StrEnum

from nsfw_app.records import Action


class DetailWhen(StrEnum):
    """Which images the detail model is asked about."""

    FLAGGED = "flagged"  # those that the score alone does not allow
    ALWAYS = "always"
    NEVER = "never"

    def includes(self, action: Action) -> bool:
        """Whether an image with this action, that of its score alone, is one of them."""
        if self is DetailWhen.FLAGGED:
            return action in {Action.REVIEW, Action.BLOCK}
        return self is DetailWhen.ALWAYS
