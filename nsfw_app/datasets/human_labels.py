"""What people said about images: one label of each, or that they differ or doubt.

- A label that was confirmed in Relabel comes before a settled one, and that before an imported one.
- No model allows an image that people doubt: one of which they settled that they are unsure, or one
  without a settled label about which a decision or an imported label is nsfw or unsure.
- An image is doubted while a second opinion is requested and unanswered, also if it has a label.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from nsfw_app.records import Label
from nsfw_app.store import Store


@dataclass(frozen=True, slots=True)
class HumanLabels:
    """Labels by SHA-256, also of images that only scans have; an image is in one of the three.

    Attributes:
        settled: Confirmed, settled or imported labels; unsure where reviewers settled on that.
        differing: Images with several such labels.
        doubted: Images without one, about which a decision or an imported label is nsfw or unsure,
            and all those for which a second opinion is requested.
    """

    settled: Mapping[str, Label] = field(default_factory=dict)
    differing: frozenset[str] = frozenset()
    doubted: frozenset[str] = frozenset()

    def __len__(self) -> int:
        """The number of images."""
        return len(self.settled) + len(self.differing) + len(self.doubted)


def human_labels(store: Store) -> HumanLabels:
    """The labels of a store."""
    labels, differing = store.label_imports.unstored(), set[str]()
    doubted = store.label_imports.unstored_differing()
    requested = store.second_opinions.unanswered()
    for image in store.labeled_images.all():
        is_confirmed = image.correction is not None
        if image.corrections_differ if is_confirmed else image.settled_differ:
            differing.add(image.image_sha256)
        elif label := image.correction or image.settled:
            labels[image.image_sha256] = label
        elif image.is_unsure:
            labels[image.image_sha256] = Label.UNSURE
        elif image.is_doubted:
            doubted.add(image.image_sha256)
    labels = {sha256: label for sha256, label in labels.items() if sha256 not in requested}
    return HumanLabels(labels, frozenset(differing) - requested, requested | doubted)
