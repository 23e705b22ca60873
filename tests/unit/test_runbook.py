"""docs/runbook.md: each command works as it is shown, one after the other."""

import io
import re
import shlex
import sys
from pathlib import Path

import pyrage
import pytest

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
SUBJECTS = """Start, Stop, Back up, Restore, Upgrade, Disk full, Model down, Webhook failing,
Snapshots failing, Data breach, Subject access and erasure""".replace("\n", " ").split(", ")


def commands() -> list[str]:
    """The commands in the code blocks, in order, without the one that serves."""
    blocks = re.findall(r"```bash\n(.*?)```", RUNBOOK, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert all(line.startswith("nsfw-review ") for line in lines)
    return [line for line in lines if line != "nsfw-review serve"]


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
            shown = shown.replace(f" /{directory}", f" {tmp_path}/{directory}")
        monkeypatch.setattr(sys, "argv", shlex.split(shown))
        monkeypatch.setattr(sys, "stdin", io.StringIO("another password\n"))
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code, f"{shown}: {capsys.readouterr().err}"
    assert (tmp_path / "tmp/drill/review.db").exists()
    assert [user.name for user in store.users.all()] == []
