"""Server process: builds the page and the web application from the settings and serves them.

- Gradio's analytics are off.
- Gradio's upload directory is private, inside the data directory, and emptied at start.
"""

import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from nsfw_app import server_log, settings, system
from nsfw_app.accounts import Accounts
from nsfw_app.backups.restore import Restored
from nsfw_app.backups.snapshot_directory import SnapshotDirectory
from nsfw_app.backups.snapshots import SnapshotWriter
from nsfw_app.bootstrap import (
    open_engine,
    open_hub_sync,
    open_insights,
    open_snapshots,
    open_store,
    open_summaries,
    restore_from_hub,
)
from nsfw_app.concurrency_limits import concurrency_limits
from nsfw_app.errors import NSFWReviewError, StorageError
from nsfw_app.evidence.alarms import current_alarms
from nsfw_app.evidence.summaries import Summaries
from nsfw_app.last_use import LastUse
from nsfw_app.private_files import restrict_tree
from nsfw_app.review.detail import DetailModel
from nsfw_app.review.engine import Engine
from nsfw_app.review.webhooks import WebhookSender
from nsfw_app.settings import Settings
from nsfw_app.settings.network import EVERYWHERE
from nsfw_app.sign_in import check_sign_in

log = logging.getLogger(__name__)

DAY_S = 86_400
MINUTE_S = 60
SWEEP_S = 60  # how late a preview may be deleted after its grace period
CHECKPOINT_S = 5  # in which hundreds of decisions fill a part of the write-ahead log
TRIM_S = 60  # how long memory of finished uploads is kept for the next ones
LAST_USE_S = 60  # how late the last use of sessions and keys is written
# How long a thread computes while another waits for the interpreter. The default is 5 ms, which
# a request would wait several times while evidence is computed.
SWITCH_S = 0.0005
SHUTDOWN_S = 3  # grace period of running requests after SIGTERM


def main() -> None:
    """Serve until interrupted."""
    system.keep_heap()
    sys.setswitchinterval(SWITCH_S)
    os.umask(0o077)  # files that libraries write into the data directory are private, too
    try:
        chosen = settings.load()
        log_writer = server_log.configure(chosen.log, chosen.log_level)
        snapshots = open_snapshots(chosen)
        restored = restore_snapshot(chosen, snapshots)
        report_restored(chosen)
        store = open_store(chosen, database=chosen.database)  # restored, or a new one
        restrict_tree(*chosen.private_paths)  # files of earlier versions
        accounts = Accounts(
            store, roles_by_group=chosen.roles_by_group, issuer=chosen.identity_issuer
        )
        check_sign_in(chosen, accounts)
        engine = open_engine(chosen, store)
        insights = open_insights(chosen, store, engine.policies)
        summaries = open_summaries(chosen, store, engine.policies)
        hub_sync = open_hub_sync(chosen, store)
    except NSFWReviewError as error:
        sys.exit(f"Error: {error}")
    try:
        backlog = concurrency_limits(chosen).backlog
        listener = socket.create_server((chosen.host, chosen.port), backlog=backlog)
    except OSError as error:
        address = f"{chosen.host}:{chosen.port}"
        sys.exit(f"Error: Cannot listen on {address}: {error.strerror}. Set another NSFW_PORT.")
    # Inherited by accepted connections; without it each response waits 40 ms for an ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    shutil.rmtree(chosen.uploads_dir, ignore_errors=True)
    chosen.uploads_dir.mkdir(mode=0o700, parents=True)
    os.environ["GRADIO_TEMP_DIR"] = str(chosen.uploads_dir.resolve())
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

    # Imported after the environment is set, because Gradio reads it on import.
    if find_spec("spaces"):  # ZeroGPU's package imports Gradio and must be imported before torch
        import spaces  # noqa: F401
    import uvicorn

    from nsfw_app.ui import build_ui
    from nsfw_app.web.app import create_app
    from nsfw_app.web.http.protocol import LimitedHttp

    writer = None
    if snapshots is not None:
        interval_s = chosen.snapshot_minutes * MINUTE_S
        writer = SnapshotWriter(store, snapshots, interval_s=interval_s)
    app = create_app(
        engine,
        accounts,
        summaries,
        settings=chosen,
        page=build_ui(engine, insights, policy_text=chosen.policy_markdown),
        snapshot_status=writer.status if writer is not None else None,
        hub_sync=hub_sync,
    )
    server_log.adopt_libraries()  # imported above
    print_banner(chosen, accounts, port=listener.getsockname()[1])
    if snapshots is not None:
        print_snapshots(snapshots, restored)
    threading.Thread(target=load_model, args=[engine, summaries], daemon=True).start()
    schedule_purge(engine)
    threading.Thread(target=sweep_previews, args=[engine], daemon=True).start()
    threading.Thread(target=checkpoint_log, args=[engine], daemon=True).start()
    threading.Thread(target=trim_memory, daemon=True).start()
    threading.Thread(target=record_last_use, args=[accounts.last_use], daemon=True).start()
    WebhookSender(store.deliveries).start()
    if hub_sync is not None:
        hub_sync.start()
    # The application reads proxy headers itself; uvicorn would take the leftmost hop.
    config = uvicorn.Config(
        app,
        http=LimitedHttp,
        log_config=None,  # its records are those of the server's log
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
        proxy_headers=False,
    )
    if writer is not None:
        writer.start()
    with finishing_before_signals():
        try:
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            write_last_use(accounts.last_use)
            if hub_sync is not None:
                hub_sync.close()
            if writer is not None:
                writer.stop()
            log_writer.stop()


def restore_snapshot(chosen: Settings, snapshots: SnapshotDirectory | None) -> Restored | None:
    """Restore the newest snapshot if the data directory has no database.

    Raises:
        BackupError: There are snapshots, and none can be restored.
    """
    if snapshots is None or chosen.database.exists():
        return None
    return snapshots.restore_newest(chosen.data_dir)


@contextmanager
def finishing_before_signals() -> Iterator[None]:
    """Let SIGTERM and SIGINT end the process after the block only.

    uvicorn handles them while it serves, and raises them again when it has stopped. The process
    ends by the signal: Python's own end would wait for the model's threads, or abort in them.
    """
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for each in received:
        signal.raise_signal(each)


def report_restored(chosen: Settings) -> None:
    """Restore an empty data directory from the dataset repository, and print what was restored.

    Raises:
        NSFWReviewError: The repository or the data directory cannot be used.
    """
    restored = restore_from_hub(chosen)
    if restored is None:
        return
    rows = restored.rows
    print(
        f"Data:  restored from {chosen.hub_dataset}: {rows['decisions']} decisions and undos, "
        f"{rows['images']} images, {restored.previews} previews."
    )
    if restored.without_preview:
        print(
            f"       {restored.without_preview} open queue entries are withdrawn: their previews "
            "were not saved, so they could not be reviewed. They enter the queue again when the "
            "images are uploaded again. NSFW_HUB_PREVIEWS=true saves previews."
        )
    if restored.without_password:
        names = ", ".join(restored.without_password)
        print(
            "       Users without a password until one is set, because passwords are not saved: "
            f"{names}. 'python -m nsfw_app users password NAME' sets it."
        )
    if restored.incomplete:
        print(
            f"       {restored.incomplete} files are left out: the server ended before it had "
            "saved all changes of that time. If someone was erased then, erase them again."
        )
    if restored.diverged:
        print(
            f"       {restored.diverged} files are left out: another server saved them as "
            f"{chosen.hub_instance!r} after this history had been restored elsewhere."
        )
    sys.stdout.flush()


def print_banner(chosen: Settings, accounts: Accounts, *, port: int) -> None:
    """Print the address of the page, the data directory, and how users sign in."""
    host = "127.0.0.1" if chosen.host == EVERYWHERE else chosen.host
    print(f"Page:  http://{host}:{port}")
    print(f"Data:  {chosen.data_dir.resolve()}")
    provider = chosen.openid
    if provider is not None and chosen.on_space:
        names = ", ".join(chosen.roles_by_group) or "none; name them in NSFW_HUB_ROLES"
        print(f"Users: {provider.label} accounts: {names}. Anyone else can try the Review tab.")
    elif provider is not None:
        print(f"Users: accounts of {provider.issuer} with a role.")
    elif chosen.auth_header:
        print(f"Users: those that the proxy names in {chosen.auth_header.title()}.")
    elif accounts.has_users:
        print("Users: everyone must sign in.")
    else:
        print("Users: none; no sign-in, only this machine is served.")
    sys.stdout.flush()


def print_snapshots(snapshots: SnapshotDirectory, restored: Restored | None) -> None:
    """Print where snapshots are written, and which one was restored."""
    print(f"Snapshots: {snapshots.directory.resolve()}")
    if restored is not None:
        counts = restored.manifest.counts
        print(
            f"       Restored {counts['decisions']} decisions and {restored.previews} previews "
            f"of {restored.manifest.created_at}."
        )
    sys.stdout.flush()


def load_model(engine: Engine, summaries: Summaries) -> None:
    """Load the models and print their identities; runs in a thread while the page is served.

    Then the first summary of its evidence is computed where there is enough, which imports
    libraries for seconds, and would delay the decisions of that time later.
    """
    status = engine.wait()
    if status.classifier is None:
        log.error("The model is not loaded: %s", status.message)
        return
    server_log.adopt_libraries()  # the model's are imported now
    identity = status.classifier.identity
    print(f"Model: {identity.model}, revision {identity.revision}, {identity.backend}", flush=True)
    if status.message:
        print(f"       {status.message}", flush=True)
    try:
        current_alarms(summaries, identity)
    except StorageError as error:
        log.warning("The evidence was not summarized: %s", error)
    if engine.detail is not None:
        print_detail(engine.detail)


def print_detail(detail: DetailModel) -> None:
    """Print the identity of the detail model once it is loaded; runs in a thread."""
    status = detail.wait()
    if status.classifier is None:
        log.error("The detail model is not loaded: %s", status.message)
        return
    server_log.adopt_libraries()
    identity = status.classifier.identity
    print(f"Detail model: {identity.model}, revision {identity.revision}, {identity.backend}")
    if status.message:
        print(f"       {status.message}")
    sys.stdout.flush()


def schedule_purge(engine: Engine) -> None:
    """Purge previews now and once a day, in a thread while the page is served."""
    tomorrow = threading.Timer(DAY_S, schedule_purge, args=[engine])
    tomorrow.daemon = True
    tomorrow.start()  # first, so that a failed purge is repeated
    threading.Thread(target=purge, args=[engine], daemon=True).start()


def purge(engine: Engine) -> None:
    """Delete previews that are no longer needed; a storage error is logged."""
    try:
        engine.tidy_up(actor="daily purge")
    except StorageError as error:
        log.warning("The daily purge failed: %s", error)


def sweep_previews(engine: Engine) -> None:
    """Delete previews whose grace period has ended, every minute; the purge at start was first."""
    while True:
        time.sleep(SWEEP_S)
        try:
            engine.sweep_previews()
        except StorageError as error:
            log.warning("Previews could not be deleted: %s", error)


def checkpoint_log(engine: Engine) -> None:
    """Move the write-ahead log into the database every few seconds, so that no request has to."""
    while True:
        time.sleep(CHECKPOINT_S)
        try:
            engine.checkpoint()
        except StorageError as error:
            log.warning("The write-ahead log stays as it is: %s", error)


def record_last_use(last_use: LastUse) -> None:
    """Write when sessions and keys were last used, every minute."""
    while True:
        time.sleep(LAST_USE_S)
        write_last_use(last_use)


def write_last_use(last_use: LastUse) -> None:
    """Write when sessions and keys were last used; a storage error is logged."""
    try:
        last_use.write()
    except StorageError as error:
        log.warning("The last use of sessions and keys is lost: %s", error)


def trim_memory() -> None:
    """Return memory of finished uploads to the system, every minute."""
    while True:
        time.sleep(TRIM_S)
        system.trim_heap()
