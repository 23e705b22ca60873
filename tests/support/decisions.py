"""Fills a store with images and decisions of several reviewers, and counts their outcomes."""

from collections import Counter
from dataclasses import replace

from nsfw_app.records import Label, ModelIdentity
from nsfw_app.store import Store
from tests.support.sample_records import FAKE, add_image, answer, person

LABELS = {"n": Label.NORMAL, "x": Label.NSFW, "u": Label.UNSURE}


def fill(store: Store, labels: dict[str, str], *, identity: ModelIdentity = FAKE) -> None:
    """Add images and decisions about them.

    Args:
        store: Where to.
        labels: A word for each reviewer with a letter for each image: n, x, u, or a dot for none.
        identity: The model that gives each of the images a score of 0.9.
    """
    for number in range(max(map(len, labels.values()))):
        add_image(store, sha256=f"{number:064x}", identity=identity, name=f"image {number}.png")
    for reviewer, word in labels.items():
        for number, letter in enumerate(word):
            if letter == ".":
                continue
            made = answer(
                f"{reviewer}-{number}-{identity.model}",
                LABELS[letter],
                image_sha256=f"{number:064x}",
                elapsed_ms=1000 * (number + 1),
            )
            made = replace(
                made,
                model=identity.model,
                revision=identity.revision,
                backend=identity.backend,
            )
            store.log.add(made, person(reviewer, owner="ann"))


def count_outcomes(store: Store, *, viewer: str | None = None) -> Counter[Label | None]:
    """The number of predictions that reviewers give each label; None while they differ."""
    decisions = store.standing_decisions
    found: Counter[Label | None] = Counter()
    for count in decisions.outcome_counts(lambda _: 0.5, viewer=viewer):
        found[count.label] += count.predictions
    found.update(outcome.label for outcome in decisions.competing_outcomes(viewer=viewer))
    return found
