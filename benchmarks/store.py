"""Times of the store with many decisions and open entries: `python -m benchmarks.store`.

It builds a database in a temporary directory, in the schema before derived tables, upgrades it as
a start of the server does, and measures what the page and the commands wait for. With `--json` it
prints one object:

- `claim_10_ms`, `waiting_ms`: to lease ten entries, and to count those a reviewer could claim.
- `insights_ms`: agreement of the model with reviewers, and between reviewers.
- `misclassifications_ms`: the first page of the Relabel tab.
- `facets_ms`, `log_deep_page_ms`: the choices of the log's filters, and a page at its middle.
- `log_hidden_ms`: to count the decisions that are hidden from a reviewer.
- `log_search_ms`, `log_reason_ms`, `log_hash_ms`: the rows of a name that none has, as far as one
  request searches; of a reason; of the first digits of a hash.
- `queue_summary_ms`, `claim_reason_ms`: the queue's counts, and ten leases of one reason.
- `policy_effect_ms`: what a policy would change, over every prediction.
- `evidence_first_s`: the first summary of the evidence of a model after a start, over every image.
- `evidence_open_ms`: a later one while there are new decisions: the one that is kept until another
  is computed in the background.
- `people_first_s`, `people_open_ms`: to count decisions by reason, source, day, reviewer and week
  the first time after a start, and with each new decision.
- `export_s`, `export_grew_mb`: the whole log as CSV, and how much more memory it took at its peak.
- `decision_p99_ms`: to record a decision, while another process exports the log again and again,
  and eight claim ten entries each, ten times a second. Each follows a bare write of as many bytes
  to a file of its own, whose times are printed to stderr: a decision waits for the disk, and
  cannot be faster than that.
"""

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from multiprocessing.synchronize import Semaphore
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from nsfw_app.decision import NewDecision
from nsfw_app.evidence.agreement import Insights
from nsfw_app.evidence.decision_counts import count_decisions, count_people
from nsfw_app.evidence.summaries import EvidenceQuery, Summaries
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.records import Label, LogFilter, ModelIdentity, Policy, Reason
from nsfw_app.review.exports import log_csv
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.permissions import PERMISSIONS, Caller, UserRole
from nsfw_app.rules.queue import EntryReason, QueueOrder
from nsfw_app.store import Store
from nsfw_app.store.migrations import migrations

REVIEWERS = 8
CLAIM_PAUSE_S = 0.1
DECISION_PAUSE_S = 0.01
DECISIONS = 1_000  # that are timed
DECISION_BYTES = 18 * 4_096  # pages that a decision adds to the write-ahead log
NEW_DECISIONS = 25  # before later summaries
IDENTITY = ModelIdentity("open-nsfw", "revision", "weights", "onnxruntime")
REVIEWER = Caller("local", "local", PERMISSIONS[UserRole.ADMIN])
REPEATS = 25
PROCESSES = multiprocessing.get_context("spawn")

# Of 20 decided images, 14 have one decision, 5 two and 1 three; one of each 20 is misclassified.
# Of the open entries, half wait for a first decision and half for a second one after a
# disagreement. `n` counts images.
ROWS = (
    """
    create temp table n as with recursive counted (n) as (
      select 1 union all select n + 1 from counted where n < :images
    ) select n, lower(hex(randomblob(32))) as sha256,
        round(abs(random()) / 9223372036854775807.0, 4) as score from counted
    """,
    """
    insert into images (sha256, format, width, height, size_bytes, frames, placeholder,
      first_seen_at, perceptual_hash)
    select sha256, 'JPEG', 1024, 768, 200000, 1, randomblob(150), '2026-01-01T00:00:00.000Z',
      lower(hex(randomblob(776)))
    from n order by sha256
    """,
    """
    insert into predictions (id, image_sha256, model, revision, backend, weights_sha256,
      probabilities, nsfw_score, frame, predicted_at)
    select n, sha256, 'open-nsfw', 'revision', 'onnxruntime', 'weights',
      json_object('normal', 1 - score, 'nsfw', score), score, 0, '2026-01-01T00:00:00.000Z'
    from n
    """,
    """
    insert into uploads (image_sha256, owner, name, source, batch_id, uploaded_at)
    select sha256, 'local', n || '.jpg', 'gallery', 'batch ' || (n / 100),
      '2026-01-01T00:00:00.000Z' from n
    """,
    """
    create temp table decision as
    select n, place, score >= 0.5 as flagged,
      case when n > :decided then not (score >= 0.5)
        when n % 20 = 7 then not (score >= 0.5)
        when n % 20 = 0 and place = 1 then not (score >= 0.5)
        else score >= 0.5 end as says_nsfw
    from n join (select 1 as place union all select 2 union all select 3)
    where n <= :decided + :second_waiting and (
      place = 1
      or n <= :decided and (place = 2 and (n % 20 in (3, 7, 11, 13, 17) or n % 20 = 0)
        or place = 3 and n % 20 = 0)
    )
    """,
    """
    insert into decisions (nonce, decided_at, reviewer, prediction_id, name, source, threshold,
      model_label, label, reasons, note, batch_id, elapsed_ms)
    select n || '-' || place,
      strftime('%Y-%m-%dT%H:%M:%f', 1735689600 + n * 31536000.0 / :images, 'unixepoch') || 'Z',
      'reviewer ' || ((n + place) % :reviewers), n, n || '.jpg', 'gallery', 0.5,
      case when flagged then 'nsfw' else 'normal' end,
      case when says_nsfw then 'nsfw' else 'normal' end,
      case when says_nsfw = flagged then '[]' else '["art"]' end, '', 'batch ' || (n / 100),
      800 + abs(random()) % 8000
    from decision order by n, place
    """,
    """
    insert into queue (prediction_id, reason, priority, answers_wanted, entered_at, settled_at,
      settled_label)
    select n.n,
      case when n.n > :decided + :second_waiting then 'review' else 'disagreement' end,
      case when n.n > :decided + :second_waiting then 3 else 2 end,
      case when n.n > :decided + :second_waiting then 1 else 2 end,
      strftime('%Y-%m-%dT%H:%M:%f', 1735689600 + n.n * 31536000.0 / :images, 'unixepoch') || 'Z',
      case when n.n <= :decided then '2026-01-02T00:00:00.000Z' end,
      case when n.n > :decided then null
        when n.n % 20 = 0 or n.n % 20 = 7 then case
          when (n.score >= 0.5) = (n.n % 20 = 0) then 'nsfw' else 'normal' end end
    from n where n.n > :decided or n.n % 20 in (0, 7)
    """,
    "drop table temp.decision",
    "drop table temp.n",
)

# Each image arrived, and was drawn: all in the review band, nine of ten others.
ARRIVALS = """
    insert into arrivals (prediction_id, arrived_at, source, probability, drawn, policy_version)
    select id,
      strftime('%Y-%m-%dT%H:%M:%f', 1735689600 + id * 31536000.0 / :images, 'unixepoch') || 'Z',
      case when id % 3 = 0 then 'gallery' else 'api' end,
      case when nsfw_score >= 0.2 and nsfw_score < 0.8 then 1 else 0.9 end,
      nsfw_score >= 0.2 and nsfw_score < 0.8 or id % 10 <> 0, 0
    from predictions where true order by id on conflict do nothing
"""


def main() -> None:
    """Build, upgrade, measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description=__doc__)
    parser.add_argument("--decisions", type=int, default=100_000)
    parser.add_argument("--open", type=int, default=10_000, help="open entries of the queue")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--directory", type=Path, help="keep the database here, or use it again")
    chosen = parser.parse_args()
    with _directory(chosen.directory) as directory:
        if not (directory / "review.db").exists():
            build(directory, decisions=chosen.decisions, open_entries=chosen.open)
        start = time.monotonic()
        store = opened(directory)
        _say(f"upgraded in {time.monotonic() - start:.1f} s")
        add_arrivals(directory)
        found = measured(store, directory)
    if chosen.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:24} {value:10,.2f}")


def build(directory: Path, *, decisions: int, open_entries: int) -> None:
    """Write a database as it was before derived tables existed."""
    second_waiting = open_entries // 2
    decided = max(0, round((decisions - second_waiting) / 1.35))
    numbers = {
        "images": decided + open_entries,
        "decided": decided,
        "second_waiting": second_waiting,
        "reviewers": REVIEWERS,
    }
    start = time.monotonic()
    with closing(Database(directory / "review.db")) as db:
        migrations.apply(db, stop_before="keep_standing_decisions")
        db.execute("pragma journal_mode = off")
        db.execute("pragma synchronous = off")
        db.execute("pragma cache_size = -400000")
        db.execute("begin")
        for statement in ROWS:
            db.execute(statement, numbers)
        db.execute("commit")
        rows = db.execute("select count(*) from decisions").fetchone()[0]
    _say(f"{rows} decisions built in {time.monotonic() - start:.1f} s")


def add_arrivals(directory: Path) -> None:
    """Add the arrivals of all images, which no version before derived tables stored."""
    with closing(sqlite3.connect(directory / "review.db")) as db, db:
        images = db.execute("select count(*) from predictions").fetchone()[0]
        db.execute(ARRIVALS, {"images": images})


def opened(directory: Path) -> Store:
    """The store in a directory."""
    return Store(directory / "review.db", previews_dir=directory / "images", journal_mode="wal")


def measured(store: Store, directory: Path) -> dict[str, float]:
    """Every figure, in the order of the module's docstring."""
    insights = Insights(store, PolicyBook(store.policies), EquivalentBackends(None))
    reviewer = "reviewer 1"
    blind = LogFilter(blind_to=reviewer)

    def claim() -> None:
        claimed.extend(store.leases.claim(reviewer, count=10))

    def release() -> None:
        store.leases.release([lease.entry_id for lease in claimed], reviewer)
        claimed.clear()

    def count_models() -> None:
        insights.models(viewer=reviewer)

    claimed: list[Any] = []
    middle = store.log.page(blind, limit=1)[0].decision_id // 2
    found = {
        "claim_10_ms": _median_ms(claim, release),
        "waiting_ms": _median_ms(lambda: store.leases.waiting(reviewer)),
        "insights_ms": _median_ms(count_models, repeats=3),
        "misclassifications_ms": _median_ms(lambda: store.training.misclassifications(limit=500)),
        "facets_ms": _median_ms(lambda: store.log.facets(blind)),
        "log_deep_page_ms": _median_ms(
            lambda: (store.log.size(blind), store.log.page(blind, limit=50, before=middle))
        ),
    }
    text, hashed = (replace(blind, search="none of them"), replace(blind, sha256=_hash(store)))
    old, new = Policy(0.5, 0.2, 0.8), Policy(0.5, 0.3, 0.7)

    def claim_reviews() -> None:
        claimed.extend(
            store.leases.claim(
                reviewer, count=10, order=QueueOrder.OLDEST, reason=EntryReason.REVIEW
            )
        )

    found |= {
        "log_hidden_ms": _median_ms(lambda: store.log.hidden(reviewer)),
        "log_search_ms": _median_ms(lambda: store.log.search(text, limit=50, before=middle)),
        "log_reason_ms": _median_ms(
            lambda: store.log.search(replace(blind, reason=Reason.ART), limit=50)
        ),
        "log_hash_ms": _median_ms(lambda: store.log.search(hashed, limit=50)),
        "queue_summary_ms": _median_ms(lambda: store.leases.summary(reviewer)),
        "claim_reason_ms": _median_ms(claim_reviews, release),
        "policy_effect_ms": _median_ms(
            lambda: store.policy_effects.effect(IDENTITY, old=old, new=new), repeats=3
        ),
    }
    found |= _evidence(store, directory)
    found |= _people(store, directory)
    found["export_s"], found["export_grew_mb"] = _export(directory)
    found["decision_p99_ms"] = _decision_p99_ms(store, directory)
    return {name: round(value, 3) for name, value in found.items()}


def _hash(store: Store) -> str:
    return store.log.page(LogFilter(), limit=1)[0].image_sha256[:8]


def export(directory: Path) -> tuple[float, float]:
    """Export the log; the seconds it took, and how many MB the peak of memory grew by."""
    store = opened(directory)
    next(log_csv(store.log.rows(LogFilter())))
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    with Path(os.devnull).open("w", encoding="utf-8") as sink:
        sink.writelines(log_csv(store.log.rows(LogFilter())))
    seconds = time.monotonic() - start
    grew_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    return seconds, grew_kb / 1024


def export_repeatedly(directory: Path, ready: Semaphore) -> None:
    """Export the log again and again, until terminated."""
    ready.release()
    while True:
        export(directory)


def claim_repeatedly(directory: Path, ready: Semaphore, reviewer: str) -> None:
    """Claim ten entries and release them, with a pause between, until terminated."""
    store = opened(directory)
    ready.release()
    while True:
        leases = store.leases.claim(reviewer, count=10)
        time.sleep(CLAIM_PAUSE_S)
        store.leases.release([lease.entry_id for lease in leases], reviewer)


def _export(directory: Path) -> tuple[float, float]:
    """`export` in a process of its own, whose memory is only the export's."""
    with PROCESSES.Pool(1) as pool:
        return pool.apply(export, [directory])


def _evidence(store: Store, directory: Path) -> dict[str, float]:
    summaries = Summaries(store, PolicyBook(store.policies), EquivalentBackends(None))
    query = EvidenceQuery(IDENTITY)
    start = time.perf_counter()
    summaries.get(query)
    found = {"evidence_first_s": time.perf_counter() - start}
    opening = []
    for sha256, flagged in _viewed(store, directory, NEW_DECISIONS):
        store.log.add(_new_decision(sha256, Label.NSFW if flagged else Label.NORMAL), REVIEWER)
        start = time.perf_counter()
        outdated = summaries.get(query).outdated
        opening.append((time.perf_counter() - start) * 1_000)
        assert outdated
    found["evidence_open_ms"] = statistics.median(opening)
    return found


def _people(store: Store, directory: Path) -> dict[str, float]:
    summaries = Summaries(store, PolicyBook(store.policies), EquivalentBackends(None))

    def count() -> float:
        start = time.perf_counter()
        decisions = summaries.decisions(IDENTITY)
        count_decisions(decisions)
        count_people(decisions)
        return time.perf_counter() - start

    found = {"people_first_s": count()}
    opening = []
    for sha256, flagged in _viewed(store, directory, NEW_DECISIONS):
        store.log.add(_new_decision(sha256, Label.NSFW if flagged else Label.NORMAL), REVIEWER)
        opening.append(count() * 1_000)
    found["people_open_ms"] = statistics.median(opening)
    return found


def _viewed(store: Store, directory: Path, count: int) -> list[tuple[str, int]]:
    """The first images, and whether each is flagged; only what was viewed can be decided."""
    with closing(sqlite3.connect(directory / "review.db")) as db:
        images = db.execute(
            "select image_sha256, nsfw_score >= 0.5 from predictions where id <= ? order by id",
            (count,),
        ).fetchall()
    for sha256, _ in images:
        store.views.add(sha256, REVIEWER.name)
    return images


def _new_decision(sha256: str, label: Label) -> NewDecision:
    return NewDecision(
        f"benchmark-{time.time_ns()}", sha256, label, 0.5,
        IDENTITY.model, IDENTITY.revision, IDENTITY.backend,
    )  # fmt: skip


def _decision_p99_ms(store: Store, directory: Path) -> float:
    """Decisions about images without one, an agreement and a disagreement in turn."""
    images = _viewed(store, directory, DECISIONS)
    times, bare_times = [], []
    content = os.urandom(DECISION_BYTES)
    with _others(directory), (directory / "bare").open("wb", buffering=0) as bare:
        for number, (sha256, flagged) in enumerate(images):
            label = Label.NSFW if flagged == number % 2 else Label.NORMAL
            made = _new_decision(sha256, label)
            start = time.perf_counter()
            bare.write(content)
            os.fdatasync(bare.fileno())
            between = time.perf_counter()
            store.log.add(made, REVIEWER)
            bare_times.append((between - start) * 1_000)
            times.append((time.perf_counter() - between) * 1_000)
            time.sleep(DECISION_PAUSE_S)
    for name, found in (("decisions", times), ("bare writes", bare_times)):
        _say(f"{name}: median {statistics.median(found):.2f} ms, p99 {_p99(found):.2f} ms")
    return _p99(times)


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[-1]


@contextmanager
def _others(directory: Path) -> Iterator[None]:
    """An export and eight reviewers at work, each in a process."""
    ready = PROCESSES.Semaphore(0)
    reviewers = [(directory, ready, f"reviewer {number}") for number in range(REVIEWERS)]
    processes = [
        PROCESSES.Process(target=export_repeatedly, args=(directory, ready)),
        *(PROCESSES.Process(target=claim_repeatedly, args=values) for values in reviewers),
    ]
    for process in processes:
        process.start()
    try:
        for _ in processes:
            ready.acquire()
        yield
    finally:
        for process in processes:
            process.terminate()
            process.join()


@contextmanager
def _directory(chosen: Path | None) -> Iterator[Path]:
    if chosen is not None:
        chosen.mkdir(parents=True, exist_ok=True)
        yield chosen
        return
    directory = Path(tempfile.mkdtemp(prefix="nsfw-store-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def _median_ms(
    call: Callable[[], object], after: Callable[[], None] | None = None, *, repeats: int = REPEATS
) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1_000)
        if after:
            after()
    return statistics.median(times)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
