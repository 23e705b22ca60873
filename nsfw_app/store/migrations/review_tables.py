"""Images, predictions, uploads, policies, decisions and the log, in their first version."""

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
