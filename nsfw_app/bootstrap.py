"""Opens store, policies, engine, insights and hub sync as the settings describe them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nsfw_app.backups.snapshot_directory import SnapshotDirectory
from nsfw_app.concurrency import CpuSlots
from nsfw_app.concurrency_limits import concurrency_limits
from nsfw_app.errors import SettingsError, StorageError, StorageErrorKind
from nsfw_app.evidence.agreement import Insights
from nsfw_app.evidence.summaries import Summaries
from nsfw_app.imaging.decode import Limits
from nsfw_app.models.cards import FALCONSAI, OPEN_NSFW, display_name
from nsfw_app.models.categories import CategoryMap
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.models.loader import Loaded, ModelLoader, load_classifier, load_detail
from nsfw_app.models.selection import AUTO, BackendConfig
from nsfw_app.records import Policy
from nsfw_app.review.detail import DetailModel, Models
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook, PolicyDefaults
from nsfw_app.rules.audit_plan import AuditPlan
from nsfw_app.rules.decisions import DecisionRules
from nsfw_app.rules.detail import DetailWhen
from nsfw_app.rules.queue import QueueRules
from nsfw_app.rules.retention import Retention
from nsfw_app.settings import Settings
from nsfw_app.settings import load as load_settings
from nsfw_app.store import Store

if TYPE_CHECKING:
    from nsfw_app.hub_sync.repository import HubRepository
    from nsfw_app.hub_sync.restoring import Restored
    from nsfw_app.hub_sync.schedule import HubSync

# What another machine needs to load the model; no secrets.
MODEL_SETTINGS = frozenset(
    """model model_revision backend batch_size unsafe_labels data_dir max_waiting detail_model
    detail_revision detail_when detail_categories detail_backend""".split()
)

CREATION_WAIT_S = 5.0  # how long another process that creates the database is waited for
CREATION_POLL_S = 0.05


def open_store(settings: Settings, *, database: Path | None = None) -> Store:
    """The store that the settings describe; of another database file where one is given.

    Raises:
        SettingsError: Its database would be a new one, and the server's start restores one.
        StorageError: It cannot be opened, or is damaged.
    """
    if database is None:
        _require_restored(settings)
    _require_content(database or settings.database)
    return Store(
        database or settings.database,
        previews_dir=settings.previews_dir,
        journal_mode=settings.journal_mode,
        rules=QueueRules(
            frozenset(settings.queue_rules),
            AuditPlan(settings.audit_rate, settings.audit_plan),
            settings.answers,
            frozenset(settings.blind_reasons),
        ),
        retention=Retention(
            settings.keep_images, settings.keep_days, settings.preview_grace_minutes
        ),
        decision_rules=DecisionRules(frozenset(settings.require_seen), settings.require_reason),
        detail_categories=detail_categories(settings),
    )


def _require_restored(settings: Settings) -> None:
    """Refuse to create a database where the server's start restores one: it would not any more."""
    if settings.database.exists():
        return
    snapshots = open_snapshots(settings)
    if settings.hub_dataset:
        source = f"NSFW_HUB_DATASET={settings.hub_dataset!r}"
    elif snapshots is not None and snapshots.has_data():
        source = f"NSFW_SNAPSHOT_DIR={str(settings.snapshot_dir)!r}"
    else:
        return
    raise SettingsError(
        f"NSFW_DATA_DIR={str(settings.data_dir)!r} has no database yet, and the server restores it "
        f"from {source} when it starts. Start the server once, then repeat the command."
    )


def _require_content(database: Path) -> None:
    """Refuse a file that was emptied: a new database in its place would have no users.

    One that another process is creating has content in a moment.
    """
    ends_at = time.monotonic() + CREATION_WAIT_S
    while _is_empty(database):
        if time.monotonic() > ends_at:
            raise StorageError(StorageErrorKind.CORRUPT, where=f"{database} is empty (0 bytes)")
        time.sleep(CREATION_POLL_S)


def _is_empty(database: Path) -> bool:
    try:
        return database.stat().st_size == 0
    except OSError:  # it is missing, or cannot be read: the store reports it
        return False


def open_existing_store(settings: Settings) -> Store:
    """The store that the settings describe, which must exist.

    Raises:
        SettingsError: There is none.
    """
    if not settings.database.exists():
        raise SettingsError(
            f"NSFW_DATA_DIR={str(settings.data_dir)!r} has no database, {settings.database.name}."
        )
    return open_store(settings)


def open_snapshots(settings: Settings) -> SnapshotDirectory | None:
    """The directory of snapshots, or None where there are none.

    Raises:
        SettingsError: It cannot be used.
    """
    if settings.snapshot_dir is None:
        return None
    try:
        return SnapshotDirectory(settings.snapshot_dir)
    except StorageError as error:
        reason = getattr(error.__cause__, "strerror", None) or str(error)
        raise SettingsError(
            f"NSFW_SNAPSHOT_DIR={str(settings.snapshot_dir)!r} cannot be used: {reason}."
        ) from error


def restore_from_hub(settings: Settings) -> "Restored | None":
    """Restore an empty data directory from the dataset repository; None where there is nothing to.

    Raises:
        PushError: The repository cannot be read, or what it has cannot be restored.
        StorageError: The data directory cannot be written.
    """
    if not settings.hub_dataset or settings.database.exists():
        return None
    from nsfw_app.hub_sync.restoring import restore  # imports pyarrow

    return restore(
        settings.database,
        _hub_repository(settings),
        instance=settings.hub_instance,
        open_store=lambda database: open_store(settings, database=database),
    )


def open_hub_sync(settings: Settings, store: Store) -> "HubSync | None":
    """What saves changes of a store in the dataset repository; None where none is set."""
    if not settings.hub_dataset:
        store.hub_changes.stop()
        return None
    from nsfw_app.hub_sync.saving import Saver  # imports pyarrow
    from nsfw_app.hub_sync.schedule import HubSync

    repository = _hub_repository(settings)
    saver = Saver(store, repository, instance=settings.hub_instance, previews=settings.hub_previews)
    lock_file = settings.database.with_name(f"{settings.database.name}.hub-lock")
    return HubSync(saver, repository, lock_file=lock_file)


def _hub_repository(settings: Settings) -> "HubRepository":
    from nsfw_app.hub_sync.repository import HubRepository

    return HubRepository(settings.hub_dataset, settings.hf_token.get_secret_value())


def open_policies(settings: Settings, store: Store) -> PolicyBook:
    """The policies in force, the first ones from the settings."""
    defaults = PolicyDefaults(settings.threshold, settings.review_from, settings.review_to)
    when = settings.detail_when if settings.has_detail else DetailWhen.NEVER
    return PolicyBook(store.policies, defaults, detail_when=when)


def image_limits(settings: Settings) -> Limits:
    """The largest input that is accepted."""
    return Limits(settings.max_bytes, settings.max_pixels, settings.max_frames)


def detail_categories(settings: Settings) -> CategoryMap:
    """Which labels of the detail model belong to which categories."""
    return CategoryMap(display_name(settings.detail_model), settings.detail_categories)


def open_models(settings: Settings, policy_of: Callable[[str], Policy]) -> Models:
    """The models that the settings name, which share CPU slots; they have not started to load.

    Args:
        settings: Models, backends and limits.
        policy_of: The policy of a model, for which its backends are verified.
    """
    cpu_slots = CpuSlots(concurrency_limits(settings).cpu_slots)
    loader = open_loader(settings, policy_of, cpu_slots=cpu_slots)
    return Models(loader, _open_detail(settings, policy_of, cpu_slots))


def _open_detail(
    settings: Settings, policy_of: Callable[[str], Policy], cpu_slots: CpuSlots
) -> DetailModel | None:
    if not settings.has_detail:
        return None
    concurrency, categories = concurrency_limits(settings), detail_categories(settings)
    equivalents = EquivalentBackends(settings.artifacts_dir)

    def load() -> Loaded:
        return load_detail(
            settings.detail_model,
            revision=settings.detail_revision,
            categories=categories,
            threads=concurrency.cpu_slots,
            max_waiting=concurrency.model_queue,
            backends=BackendConfig(settings.detail_backend, settings.artifacts_dir, policy_of),
            max_batch=concurrency.batch,
            cpu_slots=cpu_slots,
        )

    return DetailModel(
        ModelLoader(display_name(settings.detail_model), load),
        settings.detail_when,
        categories,
        settings.artifacts_dir,
        lambda identity: equivalents.of(identity, policy_of(identity.model)),
    )


def open_loader(
    settings: Settings,
    policy_of: Callable[[str], Policy],
    *,
    cpu_slots: CpuSlots | None = None,
) -> ModelLoader:
    """The loader of the first model that the settings name; it has not started.

    Args:
        settings: Model, backend and limits.
        policy_of: The policy of a model, for which its backends are verified.
        cpu_slots: CPU threads that it shares with another model; None for its own.
    """
    concurrency = concurrency_limits(settings)

    def load() -> Loaded:
        return load_classifier(
            settings.model,
            revision=settings.model_revision,
            unsafe_labels=settings.unsafe_labels,
            threads=concurrency.cpu_slots,
            max_waiting=concurrency.model_queue,
            backends=BackendConfig(settings.backend, settings.artifacts_dir, policy_of),
            max_batch=concurrency.batch,
            cpu_slots=cpu_slots,
        )

    return ModelLoader(display_name(settings.model), load)


def models_elsewhere(
    settings: Settings, policy_of: Callable[[str], Policy]
) -> Callable[[int], Models]:
    """What opens the models in another process, with a number of threads; it can be pickled.

    Of the settings it has those of the models only.

    Args:
        settings: Models, backends and limits.
        policy_of: The policy of a model; see `open_models`.
    """
    values = settings.model_dump(include=set(MODEL_SETTINGS))
    values["data_dir"] = settings.data_dir.absolute()
    for name in ("model", "detail_model"):
        directory = Path(values[name]).expanduser()
        if values[name] and directory.is_dir():  # other processes have another working directory
            values[name] = str(directory.absolute())
    first = (FALCONSAI, OPEN_NSFW) if settings.model == AUTO else (display_name(settings.model),)
    names = (*first, display_name(settings.detail_model))
    policies = {name: replace(policy_of(name), author="", reason="") for name in names}
    return partial(_open_elsewhere, values, policies)


def _open_elsewhere(
    values: Mapping[str, Any], policies: Mapping[str, Policy], threads: int
) -> Models:
    return open_models(load_settings(**values, threads=threads), policies.__getitem__)


def open_engine(settings: Settings, store: Store) -> Engine:
    """An engine as the settings describe it. No model is loaded yet: see `Engine.start`."""
    policies = open_policies(settings, store)
    models = open_models(settings, policies.of)
    return Engine(
        store=store,
        loader=models.loader,
        policies=policies,
        limits=image_limits(settings),
        artifacts_dir=settings.artifacts_dir,
        detail=models.detail,
    )


def open_insights(settings: Settings, store: Store, policies: PolicyBook) -> Insights:
    """Insights over a store, under the policies in force."""
    return Insights(store, policies, EquivalentBackends(settings.artifacts_dir))


def open_summaries(settings: Settings, store: Store, policies: PolicyBook) -> Summaries:
    """Summaries of the evidence in a store, under the policies in force."""
    return Summaries(store, policies, EquivalentBackends(settings.artifacts_dir))
