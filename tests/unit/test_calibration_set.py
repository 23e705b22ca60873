"""The calibration set, and calibration images from a directory."""

import hashlib
import re
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from nsfw_app.errors import SettingsError
from nsfw_app.imaging import decode
from nsfw_app.models import calibration_set
from tests.support.tiny_vit import tinted_image

# The SHA-256 of the output of `sha256sum *.jpg`.
HASH_OF_HASHES = "8c0ab0bec09a2e75036894ddc728988c65e60ba0fe468dd85b75f893994c5f5d"


def test_the_calibration_set_is_fixed() -> None:
    """Its files are exactly these: 48 photographs and 16 drawings or renderings, under 6 MB."""
    files = sorted(calibration_set.CALIBRATION_SET.glob("*.jpg"))
    kinds = [path.name.partition("-")[0] for path in files]
    assert (kinds.count("photograph"), kinds.count("rendering"), len(files)) == (48, 16, 64)
    assert sum(path.stat().st_size for path in files) < 6_000_000
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert digest == HASH_OF_HASHES, "".join(lines)


def test_each_file_has_a_source_and_a_license() -> None:
    """The list has title, author, package and license of each file, and no other file."""
    text = (calibration_set.CALIBRATION_SET / "LICENSES.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    cells = [[cell.strip(" `") for cell in row] for row in rows]
    assert all(len(row) == 5 and all(row) for row in cells)
    names = sorted(path.name for path in calibration_set.CALIBRATION_SET.glob("*.jpg"))
    assert [row[0] for row in cells] == names
    free = r"CC0-1\.0|CC-BY(-SA)?-[1-4]\.0|Public domain|Apache-2\.0"
    assert all(re.fullmatch(free, row[4]) for row in cells)


def test_images_differ_and_have_no_metadata() -> None:
    """64 different RGB images of sensible size, and six different views of each."""
    images, views = calibration_set.bundled(), calibration_set.bundled_views()
    assert (len(images), len(views)) == (64, 6 * 64)
    assert all(image.mode == "RGB" and 200 < max(image.size) <= 576 for image in images)
    assert len({image.tobytes() for image in views}) == len(views)
    for path in calibration_set.CALIBRATION_SET.glob("*.jpg"):
        with Image.open(path) as image:
            assert not image.getexif()
            assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_the_package_includes_it() -> None:
    """An installed package has the images and the list of their licenses."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert "models/calibration/*" in project["tool"]["setuptools"]["package-data"]["nsfw_app"]


def test_it_does_not_depend_on_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only its own directory is read."""
    opened: list[Path] = []
    read_file = decode.read_file
    monkeypatch.setattr(
        decode, "read_file", lambda path, limits: opened.append(path) or read_file(path, limits)
    )
    calibration_set.bundled()
    assert {path.parent for path in opened} == {
        Path(calibration_set.__file__).parent / "calibration"
    }


def test_a_directory_is_read_recursively(tmp_path: Path) -> None:
    """Damaged files and other types are skipped; images come in the order of their names."""
    (tmp_path / "below").mkdir()
    tinted_image(0.1, size=(30, 20)).save(tmp_path / "a.png")
    tinted_image(0.9, size=(20, 30)).save(tmp_path / "below" / "b.jpg")
    (tmp_path / "broken.png").write_bytes(b"not an image")
    (tmp_path / "notes.txt").write_text("notes")
    assert [image.size for image in calibration_set.load_dir(tmp_path)] == [(30, 20), (20, 30)]


def test_of_many_files_an_even_sample_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than the limit, from the first names to the last."""
    monkeypatch.setattr(calibration_set, "MAX_IMAGES", 4)
    for number in range(12):
        Image.new("RGB", (number + 1, 1)).save(tmp_path / f"{number:02}.png")
    assert [image.width for image in calibration_set.load_dir(tmp_path)] == [1, 4, 7, 10]


def test_a_directory_without_images_is_refused(tmp_path: Path) -> None:
    """Without images there is nothing to compare with."""
    (tmp_path / "broken.png").write_bytes(b"not an image")
    with pytest.raises(SettingsError, match="no image that can be read"):
        calibration_set.load_dir(tmp_path)
