"""What `filter` says about its images on standard error."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nsfw_app.datasets.filtering import Criteria, FilterCounts
    from nsfw_app.datasets.review_batch import Queued


REASONS = {
    "restricted": "restricted, or near duplicates of restricted images",
    "differing": "with human labels that differ",
    "settled_label": "with a human label that is not kept",
    "unsure": "settled as unsure",
    "doubted": (
        "allowed by the model, with a label of nsfw or unsure that is not settled, or a second "
        "opinion requested"
    ),
    "action": "by action",
    "max_score": "over --max-score",
    "where": "by --where",
    "duplicate": "duplicates",
    "changed": "changed since the scan",
    "unreadable": "cannot be read any more",
    "repeated": "listed more than once",
    "line_break": "named with a line break, which a list cannot hold",
    "ambiguous": "in archives with :: in their path, or shown by the name of another file, so that "
    "a list cannot name them",
    "credentials": "of URLs whose credentials are not stored, so that a list cannot name them",
}


def queued_sentence(queued: "Queued", batch: str) -> str:
    """What became of the images that were chosen for review."""
    if not queued.missing:
        return (
            f"Batch {batch} has {queued.before:,} images already, which wait or are settled in the "
            "review queue: none was added. For more images, name another --batch."
        )
    earlier = f"{queued.before:,} of them since an earlier command, " if queued.before else ""
    others = "others " if queued.before else ""
    return (
        f"{queued.before + queued.queued:,} images are in the review queue as batch {batch}, "
        f"{earlier}chosen from {queued.candidates:,}; {queued.known:,} {others}wait or are settled "
        f"already, {queued.unreadable:,} have changed or cannot be read."
    )


def labels_sentence(found: int, data_dir: Path, counts: "FilterCounts") -> str:
    """How many images have human labels in the data directory, and how many of the scan."""
    if not counts.labeled:
        return (
            f"No image of the scan has a human label in {data_dir}, where {found:,} other images "
            "have a label or a requested second opinion: check NSFW_DATA_DIR."
        )
    return (
        f"{found:,} images have human labels or a requested second opinion in {data_dir}; "
        f"{counts.labeled:,} images of the scan are among them."
    )


def counts_sentences(counts: "FilterCounts", criteria: "Criteria") -> str:
    """What became of all images, by reason, and under which policy."""
    policy = criteria.policy
    dropped, unavailable = counts.dropped.total(), counts.unavailable.total()
    reasons = Counter({REASONS[drop]: number for drop, number in counts.dropped.items()})
    sentences = [
        f"{counts.rows:,} images: {counts.kept:,} kept, {dropped:,} dropped{_listed(reasons)}, "
        f"{unavailable:,} could not be judged{_listed(counts.unavailable)}.",
        f"Threshold {policy.threshold:g}, review band {policy.review_from:g} to "
        f"{policy.review_to:g}.",
    ]
    if criteria.uses_labels and (by_label := counts.kept_by_label.total()):
        sentences.append(f"{by_label:,} are kept by a human label.")
    return " ".join(sentences)


def _listed(numbers: Counter[str]) -> str:
    parts = [f"{number:,} {name}" for name, number in numbers.most_common() if number]
    return f" ({', '.join(parts)})" if parts else ""
