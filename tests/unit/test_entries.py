"""Entries: names, and the keys of parts."""

import pytest

from nsfw_app.datasets.entries import Entry, Part


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        (Entry("/data/a.jpg", "/data/a.jpg"), "/data/a.jpg"),
        (Entry("zip://b/a.jpg::/data/x.zip", "/data/x.zip", "b/a.jpg"), "b/a.jpg"),
        (Entry("/data/t.parquet#12", "/data/t.parquet", "12"), "/data/t.parquet#12"),
    ],
)
def test_a_member_of_an_archive_has_its_own_name(entry: Entry, name: str) -> None:
    """Messages and warnings are about the member's name, not about the archive's."""
    assert entry.name == name


def test_a_key_depends_on_the_entries() -> None:
    """On name, version and order; a name that is not Unicode has a key, too."""
    one, two = Entry("a", "a", version="1"), Entry("b", "b")
    changed = Entry("a", "a", version="2")
    keys = {Part.of(each).key for each in ([one, two], [two, one], [changed, two], [one])}
    assert len(keys) == 4
    assert Part.of([one]).key == Part.of([Entry("a", "a", version="1", size=3)]).key
    assert Part.of([Entry("\udcff \ud800", "x")]).key
