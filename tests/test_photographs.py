"""The photographs that networks are compared with."""

from pathlib import Path

import pytest
from PIL import Image
from tiny_vit import picture

from nsfw_app import photographs
from nsfw_app.errors import SettingsError


def test_those_shipped_are_many_and_differ() -> None:
    """At least eight photographs, RGB, of sensible size, each seen in six ways."""
    whole, shipped = photographs.whole(), photographs.shipped()
    assert len(whole) >= 8
    assert len(shipped) == 6 * len(whole)
    assert all(image.mode == "RGB" and max(image.size) <= 1024 for image in shipped)
    assert len({image.tobytes() for image in shipped}) == len(shipped)


def test_a_folder_is_read_with_what_lies_below_it(tmp_path: Path) -> None:
    """Damaged files and others are left out; the rest come in the order of their names."""
    (tmp_path / "below").mkdir()
    picture(0.1, size=(30, 20)).save(tmp_path / "a.png")
    picture(0.9, size=(20, 30)).save(tmp_path / "below" / "b.jpg")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("not one either")
    assert [image.size for image in photographs.of_folder(tmp_path)] == [(30, 20), (20, 30)]


def test_of_many_files_some_are_taken_evenly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than the limit, from the first names to the last."""
    monkeypatch.setattr(photographs, "MOST", 4)
    for number in range(12):
        Image.new("RGB", (number + 1, 1)).save(tmp_path / f"{number:02}.png")
    assert [image.width for image in photographs.of_folder(tmp_path)] == [1, 4, 7, 10]


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    """Nothing to compare with is an error."""
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(SettingsError, match="no image that can be read"):
        photographs.of_folder(tmp_path)
