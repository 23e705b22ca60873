"""What a check finds."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How serious a finding is."""

    FAULT = "fault"  # data is lost or damaged, or will be
    WARNING = "warning"  # nothing is lost, and someone should look


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be. `check` is the name of the check."""

    check: str
    severity: Severity
    message: str


def fault(check: str, message: str) -> Finding:
    """A finding that is a fault."""
    return Finding(check, Severity.FAULT, message)


def warning(check: str, message: str) -> Finding:
    """A finding that is a warning."""
    return Finding(check, Severity.WARNING, message)
