"""docs/runbook.md: each command works as it is shown, one after the other."""

import io
import re
import shlex
import sys
from pathlib import Path

import pyrage
import pytest

from nsfw_app import settings
from nsfw_app.cli import main
from nsfw_app.rules.permissions import Permission, UserRole
from nsfw_app.store import Store
from nsfw_app.store.deliveries import Delivery
from nsfw_app.store.keys import Webhook
from nsfw_app.store.states import WebhookEvent
from tests.support.fakes import image_bytes
from tests.support.sample_records import add, add_image, answer

RUNBOOK = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text(encoding="utf-8")
DIRECTORIES = ("backups", "elsewhere", "tmp/drill")  # of other machines and disks
VARIABLES = re.compile(r"^(?:NSFW_[A-Z_]+=\S* )*")  # set for one command
SUBJECTS = """Start, Stop, Back up, Restore, Upgrade, Disk full,
Database damaged, Model down, Webhook failing,
Snapshots failing, Data breach, Subject access and erasure""".replace("\n", " ").split(", ")


def commands() -> list[str]:
    """The commands in the code blocks, in order, without those that serve."""
    blocks = re.findall(r"```bash\n(.*?)```", RUNBOOK, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert all(VARIABLES.sub("", line).startswith("nsfw-review ") for line in lines)
    return [line for line in lines if not line.endswith("nsfw-review serve")]


def set_variables(line: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Set the variables of a command; returns the rest of its line."""
    variables, _, rest = line.partition("nsfw-review")
    for name, _, value in (each.partition("=") for each in variables.split()):
        monkeypatch.setenv(name, value)
    return f"nsfw-review{rest}"


def test_each_situation_has_a_section() -> None:
    """An operator finds it by its heading."""
    headings = re.findall(r"^## (.+)$", RUNBOOK, re.MULTILINE)
    assert [subject for subject in SUBJECTS if subject not in headings] == []


def test_the_commands_work_as_shown(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """On an installation with a user, an API key whose webhook is gone, and an image."""
    image = re.findall(r"[0-9a-f]{64}", RUNBOOK)[0]
    add_image(store)
    store.previews.add("a" * 64, image_bytes(1, image_format="JPEG"))
    add(store.log, answer("n"), reviewer="ann")
    add_image(store, sha256=image)
    store.previews.add(image, image_bytes(2, image_format="JPEG"))
    store.users.add_user("ann", "hash", UserRole.ADMIN, actor="root")
    hook = Webhook("https://example.com/hook", "whsec_c2VjcmV0")
    scopes = [Permission.CLASSIFY]
    store.keys.add(
        "uploads", "hash", scopes, per_minute=60, webhook=hook, expires_at=None, actor="root"
    )
    gone = Delivery("d", WebhookEvent.SETTLED, "s", "n", "h", None, "", 1, hook.url, "")
    store.deliveries.gone(gone, status=410)
    key = pyrage.x25519.Identity.generate()
    (tmp_path / "key.txt").write_text(str(key))
    for directory in ("backups", "elsewhere"):
        (tmp_path / directory).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NSFW_DATA_DIR", str(tmp_path))
    for line in commands():
        shown = line.replace("$(date +%F)", "2026-11-29")
        shown = re.sub(r"age1\w+", str(key.to_public()), shown)
        for directory in DIRECTORIES:
            shown = re.sub(rf"([ =])/{directory}", rf"\1{tmp_path}/{directory}", shown)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", shlex.split(set_variables(shown, patch)))
            patch.setattr(sys, "stdin", io.StringIO("another password\n"))
            with pytest.raises(SystemExit) as ended:
                main()
        assert not ended.value.code, f"{shown}: {capsys.readouterr().err}"
    assert (tmp_path / "tmp/drill/review.db").exists()
    assert [user.name for user in store.users.all()] == []


@pytest.mark.parametrize(
    "production",
    [
        {"NSFW_HUB_DATASET": "org/name", "HF_TOKEN": "hf_x"},
        {"NSFW_SNAPSHOT_DIR": "/mnt/review"},
        {"NSFW_HOST": "0.0.0.0", "NSFW_PUBLIC_URL": "https://example.org"},
    ],
    ids=["hub", "snapshots", "address"],
)
def test_a_drill_changes_nothing_of_production(
    production: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the service's environment its server saves nowhere and sends nothing."""
    for name, value in production.items():
        monkeypatch.setenv(name, value)
    section = RUNBOOK.partition("## Back up")[2].partition("\n## ")[0]
    restore, *others = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)[1].splitlines()
    assert "--data-dir /tmp/drill --stop-webhooks" in restore
    assert others[-1].endswith("nsfw-review serve")
    for line in others:
        with monkeypatch.context() as patch:
            set_variables(line, patch)
            chosen = settings.load()
        assert (chosen.data_dir, chosen.hub_dataset) == (Path("/tmp/drill"), "")
        assert (chosen.snapshot_dir, chosen.public_url) == (None, "")
    assert chosen.local_only


@pytest.mark.parametrize(
    "named",
    """HF_TOKEN NSFW_OIDC_CLIENT_SECRET NSFW_SNAPSHOT_DIR NSFW_AUTH_HEADER
    review.db.key hub-dataset.md""".split(),
)
def test_a_data_breach_covers_each_secret_and_copy(named: str) -> None:
    """Tokens, the client secret, and everything that has the same data."""
    assert named in RUNBOOK.partition("## Data breach")[2].partition("\n## ")[0]
