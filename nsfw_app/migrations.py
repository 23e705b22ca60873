"""The database's shape, as steps that are only ever added.

Scores are stored, verdicts are not. Decisions are append-only, which triggers enforce; an undo is
a row without a label that names the row it undoes. The view `correction_log` is the log, column by
column; in it, `undone` means that the answer was taken back or that the same reviewer answered
again about the same prediction.
"""

from sqlite_utils import Database, Migrations

migrations = Migrations("nsfw_review")


@migrations()
def create_review_tables(db: Database) -> None:
    """Images, predictions, uploads, policies, decisions and the log."""
    for statement in TABLES:
        db.execute(statement)


@migrations()
def create_queue(db: Database) -> None:
    """The queue and its skips, training labels, perceptual hashes, time taken by an answer."""
    for statement in QUEUE_TABLES:
        db.execute(statement)


@migrations()
def create_accounts(db: Database) -> None:
    """Users, their sessions, API keys, and the audit."""
    for statement in ACCOUNT_TABLES:
        db.execute(statement)


TABLES = (
    """
    create table images (
      sha256 text primary key,
      format text not null,
      width integer not null,
      height integer not null,
      size_bytes integer not null,
      frames integer not null,
      placeholder blob not null,
      first_seen_at text not null
    )
    """,
    """
    create table predictions (
      id integer primary key,
      image_sha256 text not null references images (sha256),
      model text not null,
      revision text not null,
      backend text not null,
      weights_sha256 text not null,
      probabilities text not null,
      nsfw_score real not null check (nsfw_score between 0 and 1),
      frame integer not null,
      predicted_at text not null,
      unique (image_sha256, model, revision, backend)
    )
    """,
    """
    create table uploads (
      id integer primary key,
      image_sha256 text not null references images (sha256),
      owner text not null,
      name text not null,
      source text not null,
      batch_id text not null,
      uploaded_at text not null
    )
    """,
    "create index uploads_by_owner on uploads (image_sha256, owner)",
    """
    create table policies (
      model text not null,
      version integer not null,
      threshold real not null,
      review_from real not null,
      review_to real not null,
      author text not null,
      reason text not null,
      created_at text not null,
      primary key (model, version),
      check (0 <= review_from and review_from <= threshold
        and threshold <= review_to and review_to <= 1)
    ) without rowid
    """,
    """
    create table decisions (
      id integer primary key autoincrement,
      nonce text not null unique,
      decided_at text not null,
      reviewer text not null,
      prediction_id integer not null references predictions (id),
      name text not null,
      source text not null,
      threshold real not null check (threshold between 0 and 1),
      model_label text not null check (model_label in ('normal', 'nsfw')),
      label text check (label in ('normal', 'nsfw', 'unsure')),
      reasons text not null,
      note text not null,
      batch_id text not null,
      undoes integer references decisions (id),
      check ((label is null) = (undoes is not null))
    )
    """,
    "create unique index decisions_undone_once on decisions (undoes) where undoes is not null",
    "create index decisions_by_prediction on decisions (prediction_id, reviewer)",
    """
    create trigger decisions_stay before update on decisions
    begin select raise(abort, 'decisions are append-only'); end
    """,
    """
    create trigger decisions_remain before delete on decisions
    begin select raise(abort, 'decisions are append-only'); end
    """,
    """
    create view correction_log as
    select
      d.id as decision_id, d.decided_at, d.reviewer, p.image_sha256, d.name, d.source,
      p.model, p.revision, p.backend, p.nsfw_score, d.threshold, d.model_label,
      d.label as reviewer_label, d.label = d.model_label as agrees, d.reasons, d.note, d.batch_id,
      exists (select 1 from decisions u where u.undoes = d.id)
        or exists (
          select 1 from decisions later
          where later.prediction_id = d.prediction_id and later.reviewer = d.reviewer
            and later.id > d.id and later.label is not null
            and not exists (select 1 from decisions u where u.undoes = later.id)
        ) as undone
    from decisions d join predictions p on p.id = d.prediction_id
    where d.label is not null
    """,
)

# One entry of a prediction is open at most, so a lease on the entry is a lease on the image.
QUEUE_TABLES = (
    """
    create table queue (
      id integer primary key,
      prediction_id integer not null references predictions (id),
      reason text not null,
      priority integer not null,
      adjudicating integer not null default 0,
      answers_wanted integer not null check (answers_wanted > 0),
      draw_probability real check (draw_probability between 0 and 1),
      entered_at text not null,
      leased_by text,
      leased_until text,
      settled_at text,
      settled_label text
    )
    """,
    "create unique index queue_open on queue (prediction_id) where settled_at is null",
    "create index queue_by_prediction on queue (prediction_id)",
    "create index queue_waiting on queue (priority, entered_at) where settled_at is null",
    """
    create table queue_skips (
      queue_id integer not null references queue (id),
      reviewer text not null,
      skipped_at text not null,
      primary key (queue_id, reviewer)
    )
    """,
    """
    create table training_labels (
      id integer primary key,
      prediction_id integer not null references predictions (id),
      label text check (label in ('normal', 'nsfw')),
      decided_by text not null,
      decided_at text not null
    )
    """,
    "create index training_labels_by_prediction on training_labels (prediction_id)",
    "alter table images add column perceptual_hash text",
    "alter table decisions add column elapsed_ms integer",
    """
    create view standing_answers as
    select d.id, d.prediction_id, d.reviewer, d.label, d.model_label, d.decided_at, d.elapsed_ms
    from decisions d
    where d.label is not null
      and not exists (select 1 from decisions u where u.undoes = d.id)
      and not exists (
        select 1 from decisions later
        where later.prediction_id = d.prediction_id and later.reviewer = d.reviewer
          and later.id > d.id and later.label is not null
          and not exists (select 1 from decisions u where u.undoes = later.id)
      )
    """,
    """
    create view settled_disagreements as
    with final as (
      select p.id as prediction_id, p.image_sha256, p.model, p.nsfw_score,
        coalesce(
          (select q.settled_label from queue q where q.prediction_id = p.id
           order by q.id desc limit 1),
          (select min(a.label) from standing_answers a where a.prediction_id = p.id
           having count(distinct a.label) = 1)
        ) as label,
        (select a.model_label from standing_answers a where a.prediction_id = p.id
         order by a.id desc limit 1) as model_label,
        (select count(*) from standing_answers a where a.prediction_id = p.id) as answers
      from predictions p
      where p.id in (select prediction_id from standing_answers)
        and not exists (
          select 1 from queue q where q.prediction_id = p.id and q.settled_at is null
        )
    )
    select f.prediction_id, f.image_sha256, f.model, f.nsfw_score, f.label,
      abs(f.nsfw_score - (f.label = 'nsfw')) as error, f.answers, i.perceptual_hash,
      (select coalesce(t.label, '') from training_labels t
       where t.prediction_id = f.prediction_id order by t.id desc limit 1) as confirmed
    from final f join images i on i.sha256 = f.image_sha256
    where f.label in ('normal', 'nsfw') and f.label <> f.model_label
    """,
)

# Of passwords, session tokens and keys only hashes are here.
ACCOUNT_TABLES = (
    """
    create table users (
      name text primary key collate nocase,
      password_hash text not null,
      role text not null check (role in ('viewer', 'reviewer', 'admin')),
      created_at text not null,
      disabled_at text
    )
    """,
    """
    create table sessions (
      token_sha256 text primary key,
      owner text not null,
      name text not null,
      organisations text not null,
      created_at text not null,
      expires_at text not null
    )
    """,
    "create index sessions_by_owner on sessions (owner)",
    """
    create table api_keys (
      id integer primary key,
      name text not null unique collate nocase,
      key_sha256 text not null unique,
      scopes text not null,
      per_minute integer not null check (per_minute > 0),
      created_at text not null,
      revoked_at text
    )
    """,
    """
    create table audit (
      id integer primary key autoincrement,
      at text not null,
      actor text not null,
      action text not null,
      subject text not null,
      details text not null
    )
    """,
    """
    create trigger audit_stays before update on audit
    begin select raise(abort, 'the audit is append-only'); end
    """,
    """
    create trigger audit_remains before delete on audit
    begin select raise(abort, 'the audit is append-only'); end
    """,
)
