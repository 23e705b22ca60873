"""Retention: which previews are kept, and for how long. No I/O."""

from dataclasses import dataclass
from enum import StrEnum


class Keep(StrEnum):
    """Images whose previews are kept."""

    DISAGREEMENTS = "disagreements"  # also unsure, and until a decision, what waits for one
    ALL = "all"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Retention:
    """Which previews are kept, and after how many days each is deleted in any case.

    `grace_minutes` is how long a preview is kept after a decision about its image or its undo.
    """

    keep: Keep = Keep.DISAGREEMENTS
    days: int = 30
    grace_minutes: int = 60

    @property
    def keeps_any(self) -> bool:
        """Whether any preview is kept."""
        return self.keep is not Keep.NONE
