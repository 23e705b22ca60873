"""The application with a fake model, and clients of every kind of caller."""

import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import gradio.blocks
import pytest
import uvicorn
from anyio.from_thread import start_blocking_portal
from fastapi.testclient import TestClient

from nsfw_app import settings
from nsfw_app.accounts import Accounts
from nsfw_app.bootstrap import open_insights, open_summaries
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.permissions import KEY_SCOPES, Permission, UserRole
from nsfw_app.store import Store
from nsfw_app.store.sessions import Session
from nsfw_app.ui import build_ui
from nsfw_app.web.app import create_app
from nsfw_app.web.http.protocol import LimitedHttp
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes

T = TypeVar("T")

PASSWORDS = {
    "vera": "viewer's password",
    "ann": "reviewer's password",
    "bob": "other reviewer's password",
    "root": "admin's password",
}
ROLES = {
    "vera": UserRole.VIEWER,
    "ann": UserRole.REVIEWER,
    "bob": UserRole.REVIEWER,
    "root": UserRole.ADMIN,
}
SHARED = "http://review.test"


@dataclass
class WebApp:
    """A running application, its accounts, and clients for any caller."""

    client: TestClient
    accounts: Accounts
    key_numbers: Iterator[int] = field(default_factory=count)

    def anonymous(self) -> TestClient:
        """A client without credentials."""
        return TestClient(self.client.app, base_url=str(self.client.base_url))

    def signed_in(self, name: str) -> TestClient:
        """A client with a session of this user, as after `Accounts.sign_in`."""
        client = self.anonymous()
        token = self.accounts._create_session(Session(f"user:{name}", name, ()))
        client.cookies.set("nsfw_review", token)
        return client

    def with_key(self, *scopes: Permission, per_minute: int = 10_000) -> TestClient:
        """A client with an API key of these scopes."""
        name = f"key{next(self.key_numbers)}"
        new_key = self.accounts.add_key(name, scopes, per_minute=per_minute, actor="test")
        client = self.anonymous()
        client.headers["authorization"] = f"Bearer {new_key.key}"
        return client

    def with_every_scope(self) -> TestClient:
        """A client with an API key of every scope."""
        return self.with_key(*KEY_SCOPES)


class _Unserved:
    """In place of three applications that Gradio makes for each page, of which none is served.

    They take most of the time to open the page. `mount_gradio_app` makes the one that is served.
    """

    @staticmethod
    def create_app(*_: Any, **__: Any) -> None:
        """Make none."""


@contextmanager
def open_app(
    engine: Engine,
    store: Store,
    tmp_path: Path,
    *,
    roles: Mapping[str, UserRole] = ROLES,
    url: str = SHARED,
    hub_sync: Any = None,
    **chosen: Any,
) -> Iterator[WebApp]:
    """Run the application with these users for all hosts; without users, for this machine only."""
    host = {"host": "0.0.0.0"} if roles else {}
    configured = settings.load(**{"data_dir": tmp_path, "max_file_mb": 0.1, **host, **chosen})
    accounts = Accounts(
        store,
        roles_by_group=configured.roles_by_group,
        issuer=configured.identity_issuer,
    )
    for name, role in roles.items():
        accounts.add_user(name, PASSWORDS[name], role, actor="test")
    with pytest.MonkeyPatch.context() as patch:
        uploads = configured.uploads_dir.resolve()
        patch.setenv("GRADIO_TEMP_DIR", str(uploads))  # as app.py sets it
        insights = open_insights(configured, store, engine.policies)
        summaries = open_summaries(configured, store, engine.policies)
        patch.setattr(gradio.blocks, "App", _Unserved)
        page = build_ui(engine, insights)
        app = create_app(
            engine, accounts, summaries, settings=configured, page=page, hub_sync=hub_sync
        )
        with TestClient(app, base_url=url if roles else "http://127.0.0.1") as client:
            yield WebApp(client, accounts)


@contextmanager
def open_app_in(
    folder: Path, *, roles: Mapping[str, UserRole] = ROLES, **chosen: Any
) -> Iterator[tuple[WebApp, Store]]:
    """Run the application with a store and an engine of its own, for all tests of a module."""
    store = Store(folder / "review.db", previews_dir=folder / "images", journal_mode="wal")
    loader = ModelLoader("fake", lambda: Loaded(FakeClassifier()))
    loader.wait()
    engine = Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
    with open_app(engine, store, folder, roles=roles, **chosen) as app:
        app.client.base_url = SHARED
        yield app, store


def add(
    client: TestClient, red: int = 200, name: str = "a.png", size: tuple[int, int] = (40, 30)
) -> dict[str, Any]:
    """Classify a plain image on the page; returns its card."""
    response = client.post(
        "/desk/images",
        params={"name": name, "source": "review"},
        content=image_bytes(red, size=size),
    )
    assert response.status_code == 200, response.text
    card: dict[str, Any] = response.json()
    return card


def answer_to(card: dict[str, Any], **changes: object) -> dict[str, Any]:
    """JSON of a decision about a card, as the page sends it."""
    keys = ("model", "revision", "backend")
    body = {"image_sha256": card["sha256"], "label": "nsfw", "threshold": 0.5, "nonce": "n1"}
    return {**body, **{key: card[key] for key in keys}, **changes}


def run_async(function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run an async function in a thread, because Playwright holds the event loop of this one."""
    with start_blocking_portal() as portal:
        return portal.call(function, *args)


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve the application on a socket of 127.0.0.1; yields its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http=LimitedHttp, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
