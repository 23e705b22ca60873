"""Migrations: every older database opens, and its log has the documented columns."""

import io
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from nsfw_app import __version__
from nsfw_app.backups.backup import write_backup
from nsfw_app.backups.restore import restore
from nsfw_app.errors import DatabaseTooNew, SettingsError
from nsfw_app.records import Label, LogFilter
from nsfw_app.store import Store
from nsfw_app.store.database_copies import copied_file
from nsfw_app.store.database_files import damages, foreign_code, schema_differences
from nsfw_app.store.migrations import derived_rows, migrations
from nsfw_app.store.previews import PreviewFiles
from tests.support.decisions import count_outcomes
from tests.support.sample_records import SHA256, add, add_image, answer

STEPS = [step.name for step in migrations.pending(Database(memory=True))]
COLUMNS = """decision_id decided_at reviewer image_sha256 name source model revision backend
    nsfw_score threshold model_label reviewer_label agrees reasons note batch_id undone
    seen elapsed_ms queue_reason draw_probability policy_version settled_label
    warnings seen_ms categories""".split()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the database."""
    return tmp_path / "review.db"


@pytest.fixture
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the file without the store."""
    with closing(sqlite3.connect(path)) as connection:
        yield connection


def opened(path: Path) -> Store:
    """The store in that file."""
    return Store(path, previews_dir=path.parent / "images", journal_mode="wal")


def schema(database: sqlite3.Connection) -> list[tuple[str, str]]:
    """Everything that the database defines."""
    return database.execute("select name, sql from sqlite_master order by name").fetchall()


def test_steps_are_only_ever_added() -> None:
    """Steps keep their names and their order, because databases record them."""
    assert STEPS[:1] == ["create_review_tables"]


def test_empty_file_becomes_a_store(path: Path, database: sqlite3.Connection) -> None:
    """An empty file, as a killed start leaves it, is migrated and works."""
    path.touch()
    store = opened(path)
    add_image(store)
    add(store.log, answer("n"))
    assert migrations.pending(Database(database)) == []


@pytest.mark.parametrize("step", STEPS)
def test_every_old_schema_upgrades(path: Path, step: str, tmp_path: Path) -> None:
    """A database from before any step gets the schema of a new one."""
    with closing(Database(path)) as old:
        migrations.apply(old, stop_before=step)
        assert step in [pending.name for pending in migrations.pending(old)]
    new = tmp_path / "new.db"
    opened(path)
    opened(new)
    with closing(sqlite3.connect(path)) as upgraded, closing(sqlite3.connect(new)) as fresh:
        assert schema(upgraded) == schema(fresh)


OLD_ROWS = (
    """
    insert into images (sha256, format, width, height, size_bytes, frames, placeholder,
      first_seen_at)
    values ('a', 'PNG', 1, 1, 1, 1, x'', ''), ('b', 'PNG', 1, 1, 1, 1, x'', '')
    """,
    """
    insert into predictions (id, image_sha256, model, revision, backend, weights_sha256,
      probabilities, nsfw_score, frame, predicted_at)
    values (1, 'a', 'm', 'r', 'torch', 'w', '{}', 0.9, 0, ''),
      (2, 'a', 'm', 'r', 'onnxruntime', 'w', '{}', 0.9, 0, ''),
      (3, 'b', 'm', 'r', 'torch', 'w', '{}', 0.1, 0, '')
    """,
    """
    insert into decisions (id, nonce, decided_at, reviewer, prediction_id, name, source,
      threshold, model_label, label, reasons, note, batch_id, undoes)
    values (1, '1', '2026-01-01T00:00:00.000Z', 'ann', 1, '', '', 0.5, 'nsfw', 'normal', '[]',
        '', '', null),
      (2, '2', '2026-01-01T01:00:00.000Z', 'bob', 2, '', '', 0.5, 'nsfw', 'normal', '[]', '', '',
        null),
      (3, '3', '2026-01-02T00:00:00.000Z', 'ann', 3, '', '', 0.5, 'normal', 'nsfw', '[]', '', '',
        null),
      (4, '4', '2026-01-02T00:00:00.000Z', 'ann', 3, '', '', 0.5, 'normal', null, '[]', '', '',
        3),
      (5, '5', '2026-01-03T00:00:00.000Z', 'ann', 3, '', '', 0.5, 'normal', 'normal', '[]', '',
        '', null)
    """,
)
OLD_ENTRIES = """
insert into queue (prediction_id, reason, priority, answers_wanted, entered_at, settled_at,
  settled_label)
values (1, 'review', 3, 1, '2026', '2026', 'normal'), (1, 'disagreement', 2, 2, '2026', null, null),
  (3, 'review', 3, 1, '2026', null, null)
"""


def fill_old(path: Path, stop_before: str) -> None:
    """Write a database of an earlier version, with decisions and, where there is one, a queue."""
    with closing(Database(path)) as old:
        migrations.apply(old, stop_before=stop_before)
        for statement in OLD_ROWS:
            old.execute(statement)
        if STEPS.index(stop_before) > STEPS.index("create_queue"):
            old.execute(OLD_ENTRIES)


@pytest.mark.parametrize("step", STEPS[1:])
def test_old_decisions_are_derived_from(path: Path, step: str) -> None:
    """After an upgrade from any schema, counts and standing decisions match the decisions."""
    fill_old(path, step)
    store = opened(path)
    assert store.consistency.check() == []
    assert [row.decision_id for row in store.log.rows(LogFilter(undone=False))] == [5, 2, 1]
    assert count_outcomes(store).total() == 3
    assert store.leases.waiting("bob") == (
        2 if STEPS.index(step) > STEPS.index("create_queue") else 0
    )


KILLED_UPGRADE = """
import os, sys
from pathlib import Path
from nsfw_app.store import Store, migrations
from nsfw_app.store.migrations import derived_rows

derived_rows.BATCH_SIZE = 1
path, batches = Path(sys.argv[1]), int(sys.argv[2])
calls = []

def progress(done, total):
    calls.append(done)
    if len(calls) == batches:
        os.kill(os.getpid(), 9)

migrations._log_progress = progress
Store(path, previews_dir=path.parent / "images", journal_mode="wal")
"""


def kill_upgrade(path: Path, batches: int) -> None:
    """Upgrade in a process that is killed in that batch, before it is committed."""
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_UPGRADE, str(path), str(batches)],
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert killed.returncode == -9


@pytest.mark.parametrize("batches", [1, 5, 9, 22])
def test_a_killed_upgrade_continues(
    path: Path, batches: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Batches that were committed are not derived again; the rows are those of the decisions."""
    fill_old(path, "keep_standing_decisions")
    kill_upgrade(path, batches)
    with closing(Database(path)) as old:
        assert migrations.pending(old)[0].name == "keep_standing_decisions"
    monkeypatch.setattr(derived_rows, "BATCH_SIZE", 1)
    store = opened(path)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [f"Upgrading the database: {done} of 22 rows." for done in range(batches, 23)]
    assert store.consistency.check() == []
    assert store.log.size(LogFilter()) == 4


def test_an_upgrade_can_be_killed_again_and_again(path: Path) -> None:
    """Each start derives one batch more than was committed, until all are."""
    fill_old(path, "keep_standing_decisions")
    for _ in range(5):
        kill_upgrade(path, 2)
    assert opened(path).consistency.check() == []


@pytest.mark.parametrize(
    "statement",
    [
        OLD_ROWS[1].replace("(1, 'a'", "(9, 'a'"),
        "insert into training_labels values (9, 1, 'nsfw', 'ann', '2026')",
        OLD_ROWS[2].replace("(1, '1'", "(9, '9'"),
        OLD_ENTRIES,
        "update queue set settled_at = '2026', settled_label = 'nsfw' where settled_at is null",
        "delete from queue",
    ],
)
def test_an_older_version_cannot_write_during_an_upgrade(path: Path, statement: str) -> None:
    """Rows that others derive from stay as they are until the upgrade has finished."""
    fill_old(path, "keep_standing_decisions")
    kill_upgrade(path, 3)
    with closing(sqlite3.connect(path)) as old:
        with pytest.raises(sqlite3.IntegrityError, match="being upgraded"):
            old.execute(statement)
        old.rollback()
    assert opened(path).consistency.check() == []


def test_an_upgrade_reports_its_progress(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each batch of rows is one line of the log, up to all of them; a new database has none."""
    fill_old(path, "keep_standing_decisions")
    opened(path)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[-1] == "Upgrading the database: 22 of 22 rows."
    caplog.clear()
    opened(path.with_name("new.db"))
    assert caplog.records == []


def test_models_named_by_a_path_are_named_by_their_directory(path: Path) -> None:
    """Predictions and policies are found under the new name; hub ids stay as they are."""
    with closing(Database(path)) as old:
        migrations.apply(old, stop_before="name_local_models")
        old["images"].insert(
            {"sha256": "a", "format": "PNG", "width": 1, "height": 1, "size_bytes": 1, "frames": 1}
            | {"placeholder": b"", "first_seen_at": ""}
        )
        for model in ("/srv/models/vit", "owner/name", "open-nsfw"):
            old["predictions"].insert(
                {"image_sha256": "a", "model": model, "revision": "r", "backend": "b", "frame": 0}
                | {"weights_sha256": "w", "probabilities": "{}", "nsfw_score": 0}
                | {"predicted_at": ""}
            )
            old.execute("insert into policies values (?, 1, 0.5, 0.2, 0.8, '', '', '')", [model])
    opened(path)
    with closing(sqlite3.connect(path)) as new:
        for table in ("predictions", "policies"):
            models = {model for (model,) in new.execute(f"select model from {table}")}
            assert models == {"vit", "owner/name", "open-nsfw"}


def test_old_decisions_keep_their_meaning(path: Path) -> None:
    """Unsure no longer disagrees; what was not recorded is unknown; a minor restricts the image.

    It does not where that decision was undone.
    """
    fill_old(path, "store_circumstances")
    minor = """
        insert into decisions (id, nonce, decided_at, reviewer, prediction_id, name, source,
          threshold, model_label, label, reasons, note, batch_id, undoes)
        values (6, '6', '2026-01-04T00:00:00.000Z', 'cy', 1, '', '', 0.5, 'nsfw', 'unsure',
            '["art", "minor_present"]', '', '', null),
          (7, '7', '2026-01-04T00:00:00.000Z', 'cy', 3, '', '', 0.5, 'normal', 'nsfw',
            '["minor_present"]', '', '', null),
          (8, '8', '2026-01-04T00:00:00.000Z', 'cy', 3, '', '', 0.5, 'normal', null, '[]', '', '',
            7)
    """
    with closing(Database(path)) as old:
        old.execute(minor)
    store = opened(path)
    assert store.consistency.check() == []
    rows = {row.decision_id: row for row in store.log.rows(LogFilter())}
    assert [rows[number].agrees for number in (5, 6, 7)] == [True, None, False]
    assert store.log.size(LogFilter(agrees=False, reviewer="cy")) == 1
    assert (rows[6].seen, rows[6].policy_version, rows[6].draw_probability) == (None,) * 3
    assert [store.restrictions.holds(image) for image in "ab"] == [True, False]
    probabilities = store.log._connections.db.execute(
        "select reason, draw_probability from queue order by id"
    )
    assert [tuple(row) for row in probabilities] == [
        ("review", 1.0),
        ("disagreement", None),
        ("review", 1.0),
    ]


def test_imported_labels_of_an_old_database_no_longer_unsettle(path: Path) -> None:
    """Where a reviewer decided, the upgrade settles the image with the reviewer's label."""
    with closing(Database(path)) as old:
        migrations.apply(old, stop_before="settle_by_reviewers")
        for statement in OLD_ROWS:
            old.execute(statement)
        old.execute(
            """
            insert into decisions (nonce, decided_at, reviewer, prediction_id, name, source,
              threshold, model_label, label, reasons, note, batch_id, undoes, warnings)
            values ('6', '2026-01-04T00:00:00.000Z', 'import:lab', 1, '', '', 0.5, 'nsfw', 'nsfw',
              '[]', '', '', null, '[]')
            """
        )
        label = "select label from outcomes where prediction_id = 1"
        assert old.execute(label).fetchone()[0] is None
    store = opened(path)
    assert store.log._connections.db.execute(label).fetchone()[0] == "normal"
    assert store.consistency.check() == []


def test_migrated_database_stays_as_it_is(path: Path, database: sqlite3.Connection) -> None:
    """Opening a database again changes neither its schema nor its rows."""
    store = opened(path)
    add_image(store)
    decision = add(store.log, answer("n"))
    before = "\n".join(database.iterdump())
    assert list(opened(path).log.rows(LogFilter())) == [decision]
    assert "\n".join(database.iterdump()) == before


RELEASED = sorted((Path(__file__).parents[1] / "support" / "released_databases").glob("*.sql"))


def written_by(release: Path, database: sqlite3.Connection) -> None:
    """Write the database that a released version left."""
    database.executescript(release.read_text(encoding="utf-8"))


def test_each_release_has_its_database() -> None:
    """The changelog names the releases; a dump of the database of each is kept."""
    changelog = (Path(__file__).parents[2] / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (\d\S*) - ", changelog, re.MULTILINE)
    assert [path.stem for path in RELEASED] == sorted(versions)


@pytest.mark.parametrize("release", RELEASED, ids=lambda path: path.stem)
def test_a_released_database_opens_with_its_rows(
    release: Path, path: Path, database: sqlite3.Connection
) -> None:
    """Users, images, decisions, the queue and labels are those that the old version wrote."""
    written_by(release, database)
    queries = [
        "select name, role from users",
        "select sha256, format, placeholder from images",
        "select id, decided_at, reviewer, prediction_id, label, note, undoes from decisions",
        "select prediction_id, label, decided_by from training_labels",
        "select id, prediction_id, reason, settled_at, settled_label from queue",
        "select at, actor, action from audit",
        "select id, prediction_id, owner from submissions",
    ]
    before = [database.execute(query).fetchall() for query in queries]
    assert all(before), "each table has rows"
    assert foreign_code(path) == []
    store = opened(path)
    assert [database.execute(query).fetchall() for query in queries] == before
    assert store.consistency.check() == []
    assert damages(path) == []
    assert schema_differences(path) == []
    row, *_ = store.log.rows(LogFilter(reviewer="ann", undone=False))
    assert (row.reviewer_label, row.note, row.agrees) == (Label.NORMAL, "first", False)
    assert [user.name for user in store.users.all()] == ["ann", "bob"]
    store.previews.add(SHA256, b"jpeg")
    add(store.log, answer("new"), reviewer="cy")
    assert store.consistency.check() == []


@pytest.mark.parametrize("release", RELEASED, ids=lambda path: path.stem)
def test_a_backup_of_a_released_version_is_upgraded(
    release: Path, path: Path, database: sqlite3.Connection, tmp_path: Path
) -> None:
    """As of the file that an old server had on mounted storage; the copy is not upgraded itself."""
    written_by(release, database)
    database.execute("pragma journal_mode = delete")
    previews = PreviewFiles(tmp_path / "images")
    archive = io.BytesIO()
    with copied_file(path, path.with_name("review.db.key")) as copy:
        write_backup(copy, previews, archive)
    archive.seek(0)
    restored = restore(archive, tmp_path / "restored")
    assert "add_arrivals" in restored.added_steps
    assert opened(tmp_path / "restored" / "review.db").log.size(LogFilter()) > 0
    assert migrations.pending(Database(database))[0].name in restored.added_steps


def test_a_database_of_a_newer_version_is_refused(path: Path, database: sqlite3.Connection) -> None:
    """The sentence names this version, the unknown step and what to do; nothing is changed."""
    opened(path)
    step = "insert into _sqlite_migrations (migration_set, name, applied_at) values (?, ?, '')"
    database.execute(step, ("nsfw_review", "paint_it_blue"))
    database.execute(step, ("another_program", "other_step"))
    database.commit()
    before = "\n".join(database.iterdump())
    with pytest.raises(DatabaseTooNew) as caught:
        opened(path)
    message = str(caught.value)
    assert __version__ in message
    assert "paint_it_blue" in message
    assert "other_step" not in message
    assert "Install the version that ran last" in message
    assert "\n".join(database.iterdump()) == before


def test_failed_step_leaves_nothing_behind(path: Path, database: sqlite3.Connection) -> None:
    """A failed step is rolled back, and can be retried."""
    database.execute("create table policies (other_column)")
    with pytest.raises(SettingsError, match="policies"):
        opened(path)
    assert [name for name, _ in schema(database)] == ["policies"]
    database.execute("drop table policies")
    assert opened(path).policies.latest("fake") is None


def test_log_has_the_documented_columns(path: Path, database: sqlite3.Connection) -> None:
    """The view of the log has the columns of the export, in their order."""
    opened(path)
    assert [c[0] for c in database.execute("select * from correction_log").description] == COLUMNS


@pytest.mark.parametrize(
    "change",
    [
        "nsfw_score = 1.01 from predictions",
        "nsfw_score = null from predictions",
        "threshold = -0.1 from decisions",
        "label = 'sfw' from decisions",
        "label = null from decisions",
        "model_label = 'unsure' from decisions",
        "undoes = 1 from decisions",
        "prediction_id = 99 from decisions",
        "nonce = 'n' from decisions",
    ],
)
def test_database_refuses_invalid_rows(
    path: Path, database: sqlite3.Connection, change: str
) -> None:
    """No program can add a row with an invalid score, label or reference."""
    store = opened(path)
    add_image(store)
    add(store.log, answer("n"))
    database.execute("pragma foreign_keys = on")
    assignment, table = change.split(" from ")
    column, value = assignment.split(" = ")
    fresh = {"id": "null", "nonce": "'m'", "revision": "'r2'"}
    columns = [c[0] for c in database.execute(f"select * from {table}").description]

    def insert(changes: dict[str, str]) -> None:
        values = ", ".join(changes.get(name, name) for name in columns)
        database.execute(f"insert into {table} select {values} from {table} limit 1")

    with pytest.raises(sqlite3.IntegrityError):
        insert(fresh | {column: value})
    insert(fresh)
