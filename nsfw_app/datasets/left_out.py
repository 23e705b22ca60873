"""What a listing of files leaves out: counts by reason, with the first names."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum

MAX_NAMED = 3  # paths that are named for each reason


class LeftOut(StrEnum):
    """Why a file or directory is not classified."""

    NAME = "not named as an image"
    HIDDEN = "hidden"
    REPEATED = "directories that were searched already"
    UNREADABLE = "directories that cannot be read"
    DESTINATION = "inside the destination"
    NESTED = "archives within archives"
    PATHS = "tables of paths in directories"
    LINK = "links within archives"


@dataclass(slots=True)
class LeftOutFiles:
    """Counts of what was left out, and the first names for each reason."""

    counts: Counter[LeftOut] = field(default_factory=Counter)
    names: dict[LeftOut, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, reason: LeftOut, name: str) -> None:
        """Count one more."""
        self.counts[reason] += 1
        if self.counts[reason] <= MAX_NAMED:
            self.names[reason].append(name)

    def merge(self, other: "LeftOutFiles") -> None:
        """Add what another listing left out."""
        for reason, count in other.counts.items():
            self.counts[reason] += count
            names = self.names[reason] + other.names[reason]
            self.names[reason] = names[:MAX_NAMED]

    def summary(self) -> str:
        """One sentence about what was left out; empty if nothing was."""
        if not self.counts:
            return ""
        parts = []
        for reason, count in self.counts.items():
            names = ", ".join(self.names[reason]) + (", ..." if count > MAX_NAMED else "")
            parts.append(f"{reason}: {count} ({names})")
        return f"Left out: {'; '.join(parts)}."

    @property
    def is_complete(self) -> bool:
        """Whether each directory could be read, so that a file that is not listed is gone."""
        return not self.counts[LeftOut.UNREADABLE]
