"""Which pictures are kept, and for how long. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class Keep(StrEnum):
    """Of which images a picture is kept for people to look at."""

    DISAGREEMENTS = "disagreements"  # and, until somebody answers, of what waits for an answer
    ALL = "all"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept, and after how many days it goes in any case."""

    keep: Keep = Keep.DISAGREEMENTS
    days: int = 30

    @property
    def keeps_any(self) -> bool:
        """Whether any picture is ever kept."""
        return self.keep is not Keep.NONE
