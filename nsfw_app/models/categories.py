"""Categories of an image: which labels of a model belong to which, and their probabilities.

- The labels of known models are in their cards, other labels in the settings. Nothing is guessed.
- A label may belong to several categories, so that their probabilities may sum to more than 1.
- A category to which no label belongs is not judged: it is absent, not 0.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nsfw_app.errors import ModelUnsupported
from nsfw_app.models.cards import role_of
from nsfw_app.models.known_models import (
    CARDS,
    LABEL_SETS,
    NO_CATEGORIES,
    LabelCategories,
    normalized,
)
from nsfw_app.records import Category, LabelRole


@dataclass(frozen=True, slots=True)
class CategoryMap:
    """The categories of labels: by a model's card or set of labels, unless the settings say others.

    - `model` is the one that `chosen`, the labels of the settings, belongs to.
    - A label that is chosen with no category belongs to none.
    """

    model: str = ""
    chosen: LabelCategories = field(default_factory=dict)
    _known: dict[tuple[str, tuple[str, ...]], LabelCategories] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )  # by model and labels, because a log has the same ones in each row

    def of(self, model: str, labels: Iterable[str]) -> LabelCategories:
        """The categories of those labels of a model that have any, in the order of the labels."""
        key = model, tuple(labels)
        if key not in self._known:
            self._known[key] = self._of(*key)
        return self._known[key]

    def _of(self, model: str, labels: Sequence[str]) -> LabelCategories:
        card = CARDS.get(model)
        known = card.categories if card else LABEL_SETS.get(frozenset(map(normalized, labels)), {})
        chosen = self.chosen if model == self.model else NO_CATEGORIES
        found = {normalized(label): each for label, each in known.items()}
        found |= {normalized(label): each for label, each in chosen.items()}
        pairs = ((label, found.get(normalized(label), ())) for label in labels)
        return {label: categories for label, categories in pairs if categories}

    def judge(self, model: str, probabilities: Mapping[str, float]) -> dict[Category, float]:
        """The probability of each category that the model judges, in the order of categories."""
        sums: dict[Category, float] = {}
        for label, categories in self.of(model, probabilities).items():
            for category in categories:
                sums[category] = min(1.0, sums.get(category, 0.0) + probabilities[label])
        return {category: sums[category] for category in Category if category in sums}

    def unsafe_labels(self, model: str, labels: Iterable[str]) -> tuple[str, ...]:
        """The unsafe labels of a model of which some are chosen: others that are unknown are safe.

        A label that is chosen as a drawing only has the role that its word or card says.
        """
        chosen = {normalized(label): each for label, each in self.chosen.items()}
        return tuple(
            label
            for label in labels
            if set(chosen.get(normalized(label), ())) - {Category.DRAWING}
            or role_of(label, model=model) is LabelRole.UNSAFE
        )

    def check(self, labels: Iterable[str]) -> None:
        """Check that the model has all chosen labels.

        Raises:
            ModelUnsupported: It does not have one of them.
        """
        labels = list(labels)
        known = set(map(normalized, labels))
        if missing := [label for label in self.chosen if normalized(label) not in known]:
            raise ModelUnsupported(
                f"NSFW_DETAIL_CATEGORIES names '{missing[0]}', which the model does not have. Its "
                f"labels are {', '.join(labels)}."
            )


BY_CARD = CategoryMap()
