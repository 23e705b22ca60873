"""`explain`: a sentence, JSON or a PNG of why an image has its score."""

import json
from pathlib import Path

from PIL import Image

from tests.support.commands import Run, run

__all__ = ["run"]  # a fixture

PHOTO = Path(__file__).parents[2] / "nsfw_app/ui/assets/review/samples/astronaut.jpg"


def test_a_photograph_is_explained(run: Run, tmp_path: Path) -> None:
    """JSON to standard output, and the map as a PNG."""
    png = tmp_path / "map.png"
    done = run("explain", str(PHOTO), "-o", str(png), "--json")
    assert done.code == 0, done.err
    explanation = json.loads(done.out)
    assert (explanation["method"], explanation["backend"]) == ("rise", "onnxruntime")
    assert 0 <= explanation["score_covered"] <= 1
    with Image.open(png) as image:
        assert (image.format, image.width > 400) == ("PNG", True)


def test_a_method_that_the_model_lacks_is_an_error(run: Run) -> None:
    """A sentence, exit code 1."""
    done = run("explain", str(PHOTO), "--method", "attribution")
    assert (done.code, done.out) == (1, "")
    assert "needs a ViT in PyTorch" in done.err


def test_an_image_that_cannot_be_classified(run: Run, tmp_path: Path) -> None:
    """Its problem, exit code 3, no file."""
    broken, png = tmp_path / "broken.jpg", tmp_path / "map.png"
    broken.write_bytes(PHOTO.read_bytes()[:500])
    done = run("explain", str(broken), "-o", str(png))
    assert (done.code, done.out) == (3, "")
    assert "broken.jpg" in done.err
    assert not png.exists()
    assert run("explain", str(PHOTO), "-o", str(tmp_path / "none" / "map.png")).code == 2
