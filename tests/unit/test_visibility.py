"""Visibility: which callers may see an image."""

import pytest

from nsfw_app.errors import NotFound
from nsfw_app.records import Label, Retain, Upload
from nsfw_app.rules.permissions import UserRole
from nsfw_app.store import Store
from tests.support.sample_records import SHA256, add_image, answer, person


def test_images_are_visible_to_their_uploaders(store: Store) -> None:
    """An image is owned by every caller who uploaded it and by no other."""
    add_image(store)
    callers = person("ann"), person("bob")
    assert [store.visibility.is_visible(SHA256, caller) for caller in callers] == [True, False]
    upload = Upload("b.png", "api", "bob", retain=Retain.QUEUE)
    store.catalog.record(store.catalog.get(1), upload)
    assert store.visibility.is_visible(SHA256, callers[1])


def test_reviewers_see_images_that_they_may_decide_on(store: Store) -> None:
    """Images with their own decision or a disagreement, not those where others agree."""
    add_image(store)
    root = person("root", role=UserRole.ADMIN)
    zoe = person("zoe")
    agreed = store.log.add(answer("agreed", Label.NSFW), root)
    assert not store.visibility.is_visible(SHA256, zoe)
    assert store.visibility.is_visible(SHA256, person("root", owner="another"))  # own decision
    assert not store.visibility.is_visible(SHA256, person("vera", role=UserRole.VIEWER))
    with pytest.raises(NotFound):
        store.log.add(answer("zoe"), zoe)
    store.log.undo(agreed.decision_id, reviewer="root", nonce="undo")
    store.log.add(answer("against", Label.NORMAL), root)
    assert store.visibility.is_visible(SHA256, zoe)
    assert not store.visibility.is_visible(SHA256, person("vera", role=UserRole.VIEWER))
