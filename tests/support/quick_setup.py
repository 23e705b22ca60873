"""Fixtures that shorten what nearly every test begins with: a new database, hashes of passwords.

- A database that has no tables yet becomes a copy of one that was migrated once. Databases of
  earlier versions, and those of servers in other processes, are migrated as in production.
- Passwords are hashed with the least cost that Argon2 allows.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from argon2 import PasswordHasher

from nsfw_app import accounts
from nsfw_app.store import Store, connections

CHEAP = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}


@pytest.fixture(scope="session", autouse=True)
def quick_databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """New databases are copies of one that is migrated once; each has a secret, and a time."""
    folder = tmp_path_factory.mktemp("migrated")
    path = folder / "review.db"
    Store(path, previews_dir=folder / "images", journal_mode="delete").close()
    migrated = sqlite3.connect(":memory:", check_same_thread=False)
    with sqlite3.connect(path) as source:
        source.backup(migrated)
    source.close()
    migrate, turn = connections.upgrade, threading.Lock()

    def upgrade(writing: Callable[..., Any]) -> None:
        opened = writing.__self__  # type: ignore[attr-defined]
        with turn:
            if opened.row("select 1 from sqlite_master limit 1") is None:
                migrated.backup(opened.db.conn)
                with writing() as db:
                    db.execute("update draw_secret set secret = lower(hex(randomblob(32)))")
                    # By this time a connection knows that its database was not replaced.
                    created_at = str(datetime.now(UTC))
                    db.execute("update _sqlite_migrations set applied_at = ?", (created_at,))
        migrate(writing)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "upgrade", upgrade)
        yield
    migrated.close()


@pytest.fixture(scope="session", autouse=True)
def quick_hashes() -> Iterator[None]:
    """Hashes of passwords cost little."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "PasswordHasher", partial(PasswordHasher, **CHEAP))
        yield
