"""Tables derived from decisions and queue entries, their indexes, and views that compute them.

- Each table has a view `computed_...` that recomputes the same rows. `consistency` compares them;
  the upgrade of an older database copies them.
- `derived_triggers` changes derived rows in the transaction of their source row.
- `decided_by` lists the reviewers with a standing decision about an entry's prediction, as hex
  digits of their UTF-8 names, each followed by a slash, in order of name.
- `cross join` makes SQLite read its left side first: there are few predictions of one image.
- `audience` is who may see the decisions about a prediction: `*` for everyone, or, while an entry
  that wants several decisions is open, its `decided_by`; `waiting_audience` extends that to every
  open entry.
- `rivals` counts predictions of this image and model by other backends that have decisions.
"""

SCOPES = ("all", "public")  # every standing decision; those that everyone may see

DECIDED_BY = """
coalesce((
  select group_concat(hex(reviewer) || '/', '') from (
    select reviewer from standing_decisions s where s.prediction_id = {prediction}
    order by reviewer
  )
), '')
"""
AUDIENCE = """
coalesce((
  select q.decided_by from queue q
  where q.prediction_id = {prediction} and q.settled_at is null and q.answers_wanted > 1
), '*')
"""
UNDONE = "exists (select 1 from decisions u where u.undoes = {row}.id)"

TABLES = (
    "alter table queue add column nsfw_score real",
    "alter table queue add column decided_by text not null default ''",
    """
    create table model_identities (
      id integer primary key,
      model text not null,
      revision text not null,
      weights_sha256 text not null,
      backend text not null,
      unique (model, revision, weights_sha256, backend)
    )
    """,
    """
    create table standing_decisions (
      prediction_id integer not null references predictions (id),
      reviewer text not null,
      decision_id integer not null references decisions (id),
      label text not null,
      model_label text not null,
      decided_at text not null,
      elapsed_ms integer,
      audience text not null,
      primary key (prediction_id, reviewer)
    ) without rowid
    """,
    """
    create table outcomes (
      prediction_id integer primary key references predictions (id),
      identity_id integer not null references model_identities (id),
      nsfw_score real not null,
      label text,
      model_label text not null,
      answers integer not null,
      last_decision_id integer not null,
      waiting integer not null,
      audience text not null,
      rivals integer not null,
      error real,
      confirmed text
    )
    """,
    """
    create table pair_tallies (
      scope text not null,
      first text not null,
      second text not null,
      first_label text not null,
      second_label text not null,
      images integer not null,
      primary key (scope, first, second, first_label, second_label)
    ) without rowid
    """,
    """
    create table label_tallies (
      scope text not null,
      normal integer not null,
      nsfw integer not null,
      unsure integer not null,
      images integer not null,
      primary key (scope, normal, nsfw, unsure)
    ) without rowid
    """,
    """
    create table queue_counts (
      decided_by text not null,
      priority integer not null,
      entries integer not null,
      primary key (decided_by, priority)
    ) without rowid
    """,
    """
    create table log_groups (
      id integer primary key,
      reviewer text not null,
      model text not null,
      label text not null,
      agrees integer not null,
      undone integer not null,
      audience text not null,
      entries integer not null default 0,
      unique (reviewer, model, label, agrees, undone, audience)
    )
    """,
    """
    create table log_rows (
      decision_id integer primary key references decisions (id),
      group_id integer not null references log_groups (id)
    )
    """,
    """
    create table log_tallies (
      group_id integer not null references log_groups (id),
      day text not null,
      entries integer not null,
      primary key (group_id, day)
    ) without rowid
    """,
    """
    create table log_days (
      day text primary key,
      first_id integer not null,
      last_id integer not null
    ) without rowid
    """,
)

INDEXES = (
    "drop index queue_waiting",
    """
    create index queue_above on queue (decided_by, priority, nsfw_score, entered_at, id)
    where settled_at is null
    """,
    """
    create index queue_below on queue (decided_by, priority, nsfw_score desc, entered_at, id)
    where settled_at is null
    """,
    """
    create index queue_oldest on queue (decided_by, entered_at, id) where settled_at is null
    """,
    """
    create index queue_leased on queue (leased_until)
    where settled_at is null and leased_by is not null
    """,
    "create index queue_skips_by_reviewer on queue_skips (reviewer, queue_id)",
    """
    create index standing_decisions_by_time
    on standing_decisions (reviewer, audience, elapsed_ms)
    """,
    """
    create index outcomes_counted on outcomes (identity_id, label, nsfw_score)
    where rivals = 0 and audience = '*'
    """,
    """
    create index outcomes_restricted on outcomes (identity_id, label, nsfw_score, audience)
    where rivals = 0 and audience <> '*'
    """,
    "create index outcomes_rivals on outcomes (prediction_id) where rivals > 0",
    """
    create index misclassifications on outcomes (confirmed is not null, error desc, prediction_id)
    where waiting = 0 and label in ('normal', 'nsfw') and label <> model_label
    """,
    "create index log_rows_by_group on log_rows (group_id)",
)

COMPUTED_VIEWS = (
    f"""
    create view computed_standing_decisions as
    select d.prediction_id, d.reviewer, d.id as decision_id, d.label, d.model_label,
      d.decided_at, d.elapsed_ms, {AUDIENCE.format(prediction="d.prediction_id")} as audience
    from decisions d
    where d.label is not null
      and not {UNDONE.format(row="d")}
      and not exists (
        select 1 from decisions later
        where later.prediction_id = d.prediction_id and later.reviewer = d.reviewer
          and later.id > d.id and later.label is not null
          and not {UNDONE.format(row="later")}
      )
    """,
    f"""
    create view computed_queue as
    select q.id, p.nsfw_score, {DECIDED_BY.format(prediction="q.prediction_id")} as decided_by
    from queue q join predictions p on p.id = q.prediction_id
    """,
    f"""
    create view computed_outcomes as
    select o.*, abs(o.nsfw_score - (o.label = 'nsfw')) as error,
      (select coalesce(t.label, '') from training_labels t
       where t.prediction_id = o.prediction_id order by t.id desc limit 1) as confirmed
    from (
      select p.id as prediction_id,
        (select i.id from model_identities i
         where i.model = p.model and i.revision = p.revision
           and i.weights_sha256 = p.weights_sha256 and i.backend = p.backend) as identity_id,
        p.nsfw_score,
        coalesce(
          (select q.settled_label from queue q where q.prediction_id = p.id
           order by q.id desc limit 1),
          (select min(s.label) from standing_decisions s where s.prediction_id = p.id
           having min(s.label) = max(s.label))
        ) as label,
        (select s.model_label from standing_decisions s where s.prediction_id = p.id
         order by s.decision_id desc limit 1) as model_label,
        (select count(*) from standing_decisions s where s.prediction_id = p.id) as answers,
        (select max(s.decision_id) from standing_decisions s
         where s.prediction_id = p.id) as last_decision_id,
        exists (
          select 1 from queue q where q.prediction_id = p.id and q.settled_at is null
        ) as waiting,
        {AUDIENCE.format(prediction="p.id")} as audience,
        (select count(*) from predictions other
         where other.image_sha256 = p.image_sha256 and other.model = p.model
           and other.revision = p.revision and other.id <> p.id
           and exists (select 1 from standing_decisions s where s.prediction_id = other.id)
        ) as rivals
      from predictions p
      where exists (select 1 from standing_decisions s where s.prediction_id = p.id)
    ) o
    """,
    *(
        f"""
        create view image_labels_{scope} as
        select p.image_sha256, s.reviewer, s.label, s.prediction_id
        from predictions p cross join standing_decisions s on s.prediction_id = p.id
        where {condition.format(row="s")} not exists (
          select 1 from predictions other cross join standing_decisions later
            on later.prediction_id = other.id and later.reviewer = s.reviewer
          where other.image_sha256 = p.image_sha256
            and {condition.format(row="later")} later.decision_id > s.decision_id
        )
        """
        for scope, condition in zip(SCOPES, ("", "{row}.audience = '*' and"), strict=True)
    ),
    "create view computed_pair_tallies as"
    + " union all ".join(
        f"""
        select '{scope}' as scope, a.reviewer as first, b.reviewer as second,
          a.label as first_label, b.label as second_label, count(*) as images
        from image_labels_{scope} a cross join image_labels_{scope} b
          on b.image_sha256 = a.image_sha256 and b.reviewer > a.reviewer
        group by 1, 2, 3, 4, 5
        """
        for scope in SCOPES
    ),
    "create view computed_label_tallies as"
    + " union all ".join(
        f"""
        select '{scope}' as scope, normal, nsfw, unsure, count(*) as images
        from (
          select sum(label = 'normal') as normal, sum(label = 'nsfw') as nsfw,
            sum(label = 'unsure') as unsure
          from image_labels_{scope} group by image_sha256 having count(*) > 1
        ) group by 1, 2, 3, 4
        """
        for scope in SCOPES
    ),
    """
    create view computed_queue_counts as
    select decided_by, priority, count(*) as entries from queue where settled_at is null
    group by decided_by, priority
    """,
    f"""
    create view computed_log_rows as
    select d.id as decision_id, d.reviewer, p.model, d.label, d.label = d.model_label as agrees,
      not exists (
        select 1 from standing_decisions s
        where s.prediction_id = d.prediction_id and s.reviewer = d.reviewer
          and s.decision_id = d.id
      ) as undone,
      {AUDIENCE.format(prediction="d.prediction_id")} as audience
    from decisions d join predictions p on p.id = d.prediction_id
    where d.label is not null
    """,
    """
    create view computed_log_tallies as
    select r.group_id, substr(d.decided_at, 1, 10) as day, count(*) as entries
    from log_rows r join decisions d on d.id = r.decision_id group by 1, 2
    """,
    """
    create view computed_log_days as
    select substr(decided_at, 1, 10) as day, min(id) as first_id, max(id) as last_id
    from decisions where label is not null group by 1
    """,
)

VIEWS = (
    "drop view settled_disagreements",
    "drop view standing_answers",
    "drop view correction_log",
    """
    create view standing_answers as
    select decision_id as id, prediction_id, reviewer, label, model_label, decided_at, elapsed_ms
    from standing_decisions
    """,
    """
    create view settled_disagreements as
    select o.prediction_id, p.image_sha256, p.model, o.nsfw_score, o.label, o.error, o.answers,
      i.perceptual_hash, o.confirmed
    from outcomes o join predictions p on p.id = o.prediction_id
      join images i on i.sha256 = p.image_sha256
    where o.waiting = 0 and o.label in ('normal', 'nsfw') and o.label <> o.model_label
    """,
    """
    create view correction_log as
    select
      d.id as decision_id, d.decided_at, d.reviewer, p.image_sha256, d.name, d.source,
      p.model, p.revision, p.backend, p.nsfw_score, d.threshold, d.model_label,
      d.label as reviewer_label, d.label = d.model_label as agrees, d.reasons, d.note, d.batch_id,
      not exists (
        select 1 from standing_decisions s
        where s.prediction_id = d.prediction_id and s.reviewer = d.reviewer
          and s.decision_id = d.id
      ) as undone,
      d.warnings
    from decisions d join predictions p on p.id = d.prediction_id
    where d.label is not null
    """,
)

OUTCOME_COLUMNS = """identity_id nsfw_score label model_label answers last_decision_id waiting
  audience rivals error confirmed""".split()
