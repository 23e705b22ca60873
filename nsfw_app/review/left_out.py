"""Sentences about what a list or an export leaves out, and why."""

from collections.abc import Mapping
from dataclasses import replace

from nsfw_app.records import LogFilter
from nsfw_app.store.blind_review import Hidden
from nsfw_app.store.log import CorrectionLog
from nsfw_app.store.training import WithoutLabel

LEFT_OUT = "NSFW-Left-Out"  # the header of an export
NOTHING = "none"


def hidden_sentence(hidden: Hidden) -> str:
    """How many decisions are hidden from a reviewer; empty where none is."""
    if not hidden.decisions:
        return ""
    if hidden.decisions == 1:
        return "1 decision about 1 image is hidden until you have decided it."
    if hidden.images is None:
        return f"{hidden.decisions:,} decisions are hidden until you have decided their images."
    images = "1 image" if hidden.images == 1 else f"{hidden.images:,} images"
    it = "it" if hidden.images == 1 else "them"
    return f"{hidden.decisions:,} decisions about {images} are hidden until you have decided {it}."


def omission_sentence(log: CorrectionLog, wanted: LogFilter) -> str:
    """How many decisions an export without a person's filter leaves out; empty where none is.

    Args:
        log: The correction log.
        wanted: The filter: of dates, and disagreements that stand, or all decisions.
    """
    everything = LogFilter(blind_to=wanted.blind_to)
    inside = replace(everything, since=wanted.since, until=wanted.until)
    standing = replace(inside, undone=False)
    total, matching = log.size(everything), log.size(inside)
    left_out = total - log.size(wanted)
    counts = {"outside of the dates": total - matching}
    if wanted.undone is False:
        counts["undone or replaced"] = log.size(replace(inside, undone=True))
    if wanted.agrees is False:
        counts["agreements"] = log.size(replace(standing, agrees=True))
        counts["unsure"] = (
            log.size(standing) - counts["agreements"] - log.size(replace(standing, agrees=False))
        )
    return _sentence(left_out, "decision", counts)


def training_sentence(without_label: WithoutLabel) -> str:
    """How many misclassifications an export of training labels leaves out; empty where none is."""
    counts = {
        "without a training label": without_label.undecided,
        "excluded": without_label.excluded,
        "hidden because a minor may be present": without_label.restricted,
    }
    return _sentence(sum(counts.values()), "misclassification", counts)


def _sentence(left_out: int, noun: str, counts: Mapping[str, int]) -> str:
    if not left_out:
        return ""
    why = ", ".join(f"{count:,} {reason}" for reason, count in counts.items() if count)
    return f"{left_out:,} {noun}{' is' if left_out == 1 else 's are'} left out: {why}."


def left_out_header(*sentences: str) -> dict[str, str]:
    """The header that says what an export leaves out."""
    return {LEFT_OUT: " ".join(sentence for sentence in sentences if sentence) or NOTHING}
