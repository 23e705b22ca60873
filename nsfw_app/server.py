"""Server process: builds the page and the web application from the settings and serves them.

- Gradio's analytics are off.
- Gradio's upload directory is private, inside the data directory, and emptied at start.
"""

import logging
import os
import shutil
import socket
import sys
import threading
import time
from importlib.util import find_spec

from nsfw_app import server_log, settings, system
from nsfw_app.accounts import Accounts
from nsfw_app.bootstrap import open_engine, open_insights, open_store, open_summaries
from nsfw_app.concurrency_limits import concurrency_limits
from nsfw_app.errors import NSFWReviewError, SettingsError, StorageError
from nsfw_app.evidence.alarms import current_alarms
from nsfw_app.evidence.summaries import Summaries
from nsfw_app.private_files import restrict_tree
from nsfw_app.review.engine import Engine
from nsfw_app.review.webhooks import WebhookSender
from nsfw_app.settings import Settings
from nsfw_app.settings.network import EVERYWHERE

log = logging.getLogger(__name__)

DAY_S = 86_400
SWEEP_S = 60  # how late a preview may be deleted after its grace period
CHECKPOINT_S = 5  # in which hundreds of decisions fill a part of the write-ahead log
TRIM_S = 60  # how long memory of finished uploads is kept for the next ones
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
        server_log.configure(chosen.log, chosen.log_level)
        store = open_store(chosen)
        restrict_tree(*chosen.private_paths)  # files of earlier versions
        accounts = Accounts(store, hub_roles=chosen.hub_roles)
        check_sign_in(chosen, accounts)
        engine = open_engine(chosen, store)
        insights = open_insights(chosen, store, engine.policies)
        summaries = open_summaries(chosen, store, engine.policies)
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

    app = create_app(
        engine,
        accounts,
        summaries,
        settings=chosen,
        page=build_ui(engine, insights, policy_text=chosen.policy_markdown),
    )
    server_log.adopt_libraries()  # imported above
    print_banner(chosen, accounts, port=listener.getsockname()[1])
    threading.Thread(target=load_model, args=[engine, summaries], daemon=True).start()
    schedule_purge(engine)
    threading.Thread(target=sweep_previews, args=[engine], daemon=True).start()
    threading.Thread(target=checkpoint_log, args=[engine], daemon=True).start()
    threading.Thread(target=trim_memory, daemon=True).start()
    WebhookSender(store.deliveries).start()
    # The application reads proxy headers itself; uvicorn would take the leftmost hop.
    config = uvicorn.Config(
        app,
        http=LimitedHttp,
        log_config=None,  # its records are those of the server's log
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
        proxy_headers=False,
    )
    uvicorn.Server(config).run(sockets=[listener])


def check_sign_in(chosen: Settings, accounts: Accounts) -> None:
    """Require users before the page is served to other machines or through a reverse proxy.

    Raises:
        SettingsError: There are no users; the message says what to do.
    """
    proxied = chosen.forwarded_allow_ips or chosen.root_path
    if chosen.hub_sign_in or accounts.has_users or (chosen.local_only and not proxied):
        return
    if chosen.on_space:
        raise SettingsError(
            "This Space has no sign-in. Add 'hf_oauth: true' to the front matter of its "
            "README.md, and name users in NSFW_HUB_ROLES."
        )
    if chosen.local_only:
        raise SettingsError(
            "FORWARDED_ALLOW_IPS or NSFW_ROOT_PATH is set, so a reverse proxy serves the page to "
            "others, but there are no users. Add one first, "
            "'python -m nsfw_app users add NAME --role admin', or unset both."
        )
    raise SettingsError(
        f"NSFW_HOST={chosen.host!r} can be reached from other machines, but there are no users, so "
        "anyone could use the page. Add a user first, "
        "'python -m nsfw_app users add NAME --role admin', or leave NSFW_HOST at 127.0.0.1."
    )


def print_banner(chosen: Settings, accounts: Accounts, *, port: int) -> None:
    """Print the address of the page, the data directory, and how users sign in."""
    host = "127.0.0.1" if chosen.host == EVERYWHERE else chosen.host
    print(f"Page:  http://{host}:{port}")
    print(f"Data:  {chosen.data_dir.resolve()}")
    if chosen.hub_sign_in:
        names = ", ".join(chosen.hub_roles) or "none; name them in NSFW_HUB_ROLES"
        print(f"Users: Hugging Face accounts: {names}. Anyone else can try the Review tab.")
    elif accounts.has_users:
        print("Users: everyone must sign in.")
    else:
        print("Users: none; no sign-in, only this machine is served.")
    sys.stdout.flush()


def load_model(engine: Engine, summaries: Summaries) -> None:
    """Load the model and print its identity; runs in a thread while the page is served.

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


def trim_memory() -> None:
    """Return memory of finished uploads to the system, every minute."""
    while True:
        time.sleep(TRIM_S)
        system.trim_heap()
