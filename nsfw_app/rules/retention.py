"""Retention: which previews are kept, and for how long. No I/O."""

from dataclasses import dataclass
from enum import StrEnum


class Keep(StrEnum):
    """Images whose previews are kept."""

    DISAGREEMENTS = "disagreements"  # and, until a decision, images that wait for one
    ALL = "all"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Retention:
    """Which previews are kept, and after how many days each is deleted in any case."""

    keep: Keep = Keep.DISAGREEMENTS
    days: int = 30

    @property
    def keeps_any(self) -> bool:
        """Whether any preview is kept."""
        return self.keep is not Keep.NONE
