"""Subject access and erasure: nothing about a person or an image is missed."""

import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nsfw_app.cli import main
from nsfw_app.errors import ImageRestricted, NotFound
from nsfw_app.records import Label, LogFilter, Reason
from nsfw_app.rules.permissions import UserRole
from nsfw_app.rules.queue import QueueReason
from nsfw_app.store import Store
from nsfw_app.store.audit import AuditAction
from nsfw_app.store.personal_data import (
    DERIVED_PEOPLE,
    IMAGES,
    LISTS,
    OWNERS,
    PEOPLE,
    TEXTS,
)
from nsfw_app.store.sessions import Session
from tests.support.sample_records import SHA256, add, add_image, admitted, answer

OTHER_SHA256 = "b" * 64
PEOPLE_COLUMNS = {"reviewer", "author", "actor", "leased_by", "decided_by", "audience", "owner"}


@pytest.fixture
def team(store: Store) -> Store:
    """A store in which Ann, Bob and Zoe did everything that leaves their names."""
    for name in ("ann", "bob", "zoe"):
        store.users.add_user(name, "hash", UserRole.REVIEWER, actor="root")
        session = Session(f"user:{name}", name, ())
        store.sessions.add(f"token of {name}", session, expires_at="9999")
    for image in (SHA256, OTHER_SHA256, "c" * 64):
        add_image(store, sha256=image, name="holiday.png")
    for name in ("ann", "zoe", "bob"):
        label = Label.NORMAL if name == "bob" else Label.NSFW
        add(store.log, answer(f"{name} 1", label, note=f"by {name}"), reviewer=name)
    for name in ("bob", "ann"):
        add(store.log, answer(f"{name} 2", image_sha256=OTHER_SHA256), reviewer=name)
    store.views.add(OTHER_SHA256, "ann")
    store.training.decide(2, Label.NORMAL, reviewer="ann", seen=True)
    store.catalog.record(store.catalog.get(2), arrival=admitted(QueueReason.DISAGREEMENT))
    store.catalog.record(store.catalog.get(3), arrival=admitted(QueueReason.REVIEW))
    assert store.leases.claim("ann", count=2)
    store.team.set_reviews("ann", False)
    return store


def text_of(database: Path) -> str:
    """Schema and rows of a database, with names in hex made readable."""
    with closing(sqlite3.connect(database)) as connection:
        lines = "\n".join(connection.iterdump())
    for name in ("ann", "bob", "zoe"):
        lines = lines.replace(f"{name.encode().hex().upper()}/", f"<{name}>")
    return lines


def test_an_erased_person_is_nowhere(team: Store, tmp_path: Path) -> None:
    """No row has the name, in clear or as digits; the notes they wrote are texts of the images."""
    new = team.personal_data.erase_person("ann", actor="root")
    assert new.startswith("erased-")
    text = text_of(tmp_path / "review.db").replace("by ann", "")
    assert "'ann'" not in text
    assert "<ann>" not in text
    assert "user:ann" not in text
    assert "'bob'" in text
    assert [user.name for user in team.users.all()] == ["bob", "zoe"]


def test_a_name_in_other_letters_is_the_same_person(team: Store, tmp_path: Path) -> None:
    """As at the sign-in: the account is not deleted while decisions keep its name."""
    team.audit.add("aNN", AuditAction.SIGN_IN_FAILED, "127.0.0.1")
    assert {row.table for row in team.personal_data.of_person("ANN")} >= {"users", "decisions"}
    team.personal_data.erase_person("Ann", actor="root")
    text = text_of(tmp_path / "review.db").replace("by ann", "")
    assert "'ann'" not in text.lower()
    assert "<ann>" not in text
    assert "user:ann" not in text


@pytest.mark.parametrize("name", ["ann", "bob", "zoe"])
def test_evidence_stays_after_an_erasure(name: str, team: Store, tmp_path: Path) -> None:
    """Counts, agreement, queue and derived tables are those of before, under another name."""
    before = list(team.log.rows(LogFilter()))
    pairs = sorted(pair.images for pair in team.standing_decisions.shared_counts()[0])
    waiting = team.leases.waiting("someone")
    with closing(sqlite3.connect(tmp_path / "review.db")) as connection:
        schema = connection.execute("select name, sql from sqlite_master order by name").fetchall()
    new = team.personal_data.erase_person(name, actor="root")
    assert team.consistency.check() == []
    renamed = [replace(r, reviewer=new if r.reviewer == name else r.reviewer) for r in before]
    assert list(team.log.rows(LogFilter())) == renamed
    assert sorted(pair.images for pair in team.standing_decisions.shared_counts()[0]) == pairs
    assert team.leases.waiting("someone") == waiting
    with closing(sqlite3.connect(tmp_path / "review.db")) as connection:
        again = connection.execute("select name, sql from sqlite_master order by name").fetchall()
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute("delete from audit")
    assert again == schema


def test_decisions_go_on_after_an_erasure(team: Store) -> None:
    """The triggers that keep derived tables current are there again."""
    team.personal_data.erase_person("ann", actor="root")
    add(team.log, answer("later", Label.UNSURE), reviewer="bob")
    assert team.consistency.check() == []


def test_every_row_about_a_person_is_shown(team: Store) -> None:
    """From each table, without hash of password or token."""
    rows = list(team.personal_data.of_person("ann"))
    assert {row.table for row in rows} >= {
        "users", "sessions", "decisions", "training_labels", "queue", "preview_views", "audit",
    }  # fmt: skip
    assert sum(row.table == "decisions" for row in rows) == 2
    assert not any("hash" in key or "token" in key for row in rows for key in row.values)
    assert list(team.personal_data.of_person("dora")) == []


def test_names_that_are_words_of_the_schema_are_people_only(store: Store) -> None:
    """A user called like a role, a label or a reason changes no other column."""
    for name in ("admin", "nsfw", "review"):
        store.users.add_user(name, "hash", UserRole.ADMIN, actor="root")
        add_image(store)
        add(store.log, answer(name, Label.NSFW), reviewer=name)
        store.personal_data.erase_person(name, actor="root")
    assert store.consistency.check() == []
    assert {row.reviewer_label for row in store.log.rows(LogFilter())} == {Label.NSFW}


def test_an_erased_image_keeps_its_label_only(team: Store, tmp_path: Path) -> None:
    """Preview, names of files and notes are gone; hash, score and decisions stay."""
    team.purges.purge(SHA256, actor="root")
    team.personal_data.erase_image(SHA256, actor="root")
    rows = [row for row in team.log.rows(LogFilter()) if row.image_sha256 == SHA256]
    assert len(rows) == 3
    assert {(row.name, row.note) for row in rows} == {("erased", "")}
    others = [row for row in team.log.rows(LogFilter()) if row.image_sha256 != SHA256]
    assert {row.name for row in others} == {"holiday.png"}
    assert not team.previews.has(SHA256)
    assert team.consistency.check() == []
    tables = {row.table for row in team.personal_data.of_image(SHA256)}
    assert {"images", "predictions", "uploads", "decisions", "audit"} <= tables
    assert "preview_views" not in tables


def test_unknown_subjects_are_refused(team: Store) -> None:
    """A typing error erases nothing and says so."""
    with pytest.raises(NotFound, match="'anna'"):
        team.personal_data.erase_person("anna", actor="root")
    with pytest.raises(NotFound, match="is stored"):
        team.personal_data.erase_image("d" * 64, actor="root")


def test_an_erasure_that_fails_changes_nothing(team: Store, tmp_path: Path) -> None:
    """Triggers and rows are those of before."""
    before = text_of(tmp_path / "review.db")
    with pytest.raises(sqlite3.IntegrityError):
        team.personal_data.erase_person("ann", actor=None)  # type: ignore[arg-type]
    assert text_of(tmp_path / "review.db") == before


def test_every_column_with_people_is_covered(store: Store, tmp_path: Path) -> None:
    """A new table whose columns name people or images has to be added to the lists."""
    listed = {
        (table, column)
        for columns in (PEOPLE, OWNERS, DERIVED_PEOPLE, LISTS)
        for table, names in columns.items()
        for column in names
    }
    with closing(sqlite3.connect(tmp_path / "review.db")) as connection:
        tables = [name for (name,) in connection.execute(
            "select name from sqlite_master where type = 'table' and name not like 'sqlite%'"
        )]  # fmt: skip
        columns = {
            table: {row[1] for row in connection.execute(f"pragma table_info({table})")}
            for table in tables
        }
    found = {(t, c) for t, names in columns.items() for c in names & PEOPLE_COLUMNS}
    assert found - listed == set()
    of_images = {t for t, names in columns.items() if {"image_sha256", "note"} & names}
    assert of_images - {"predictions"} <= IMAGES.keys()
    assert TEXTS.keys() <= IMAGES.keys()


Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a command on the test's store; returns both outputs."""
    monkeypatch.setenv("NSFW_DATA_DIR", str(tmp_path))

    def run(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["nsfw_app", "personal-data", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert (ended.value.code or 0) == code, captured.err
        return captured.out if code == 0 else captured.err

    return run


def shown(output: str) -> list[dict[str, Any]]:
    """The rows that the command printed."""
    return [json.loads(line) for line in output.splitlines()]


def test_commands_show_and_erase(run: Run, team: Store) -> None:
    """Of a person and of an image; the audit has both under names that are left."""
    assert {row["table"] for row in shown(run("show", "--person", "ann"))} >= {"users", "decisions"}
    assert shown(run("show", "--image", SHA256))[0]["sha256"] == SHA256
    assert "decisions are those of erased-" in run("erase", "--person", "ann")
    assert "Its scores stay" in run("erase", "--image", SHA256.upper())
    actions = [entry.action for entry in team.audit.entries()]
    assert actions.count(AuditAction.ERASE) == 2
    assert actions.count(AuditAction.EXPORT) == 2


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        ([], "either", 2),
        (["--person", "ann", "--image", SHA256], "either", 2),
        (["--image", "../x"], "SHA-256", 2),
        (["--person", "anna"], "No row names", 1),
        (["--image", "d" * 64], "is stored", 1),
    ],
)
def test_wrong_subjects_are_a_sentence(
    arguments: list[str], words: str, code: int, run: Run, team: Store
) -> None:
    """One subject, which exists."""
    assert words in run("erase", *arguments, code=code)


def test_a_restricted_image_is_not_erased(run: Run, team: Store) -> None:
    """It must be preserved until an administrator lifts the restriction."""
    add(team.log, answer("minor", reasons=(Reason.MINOR_PRESENT,)), reviewer="bob")
    assert "restricted" in run("erase", "--image", SHA256, code=1)
    with pytest.raises(ImageRestricted):
        team.purges.purge(SHA256, actor="root")
    assert team.previews.has(SHA256)
