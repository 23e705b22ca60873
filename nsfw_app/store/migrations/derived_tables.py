"""Tables derived from decisions and queue entries, and the triggers that keep them current.

- Each table has a view `computed_...` that derives the same rows anew. `consistency` compares them;
  the upgrade of an older database copies them.
- A trigger changes derived rows in the transaction of the row that they derive from.
- `decided_by` lists the reviewers with a standing decision about an entry's prediction, as hex
  digits of their UTF-8 names, each followed by a slash, in order of name.
- `cross join` makes SQLite read its left side first: there are few predictions of one image.
- `audience` is who may know of decisions about a prediction: `*` for everyone, or, while an entry
  that wants several opinions is open, its `decided_by`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from sqlite_utils import Database

BATCH_SIZE = 100_000  # predictions or decisions that are derived between two reports of progress
CACHE_KB = 65_536  # while indexes are built

SCOPES = ("all", "public")  # every standing decision; those that everyone may know of

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
    create index outcomes_sealed on outcomes (identity_id, label, nsfw_score, audience)
    where rivals = 0 and audience <> '*'
    """,
    "create index outcomes_rivals on outcomes (prediction_id) where rivals > 0",
    """
    create index misclassifications on outcomes (confirmed is not null, error desc, prediction_id)
    where waiting = 0 and label in ('normal', 'nsfw') and label <> model_label
    """,
    "create index log_rows_by_group on log_rows (group_id)",
)

VIEWS = (
    "drop view settled_disagreements",
    "drop view standing_answers",
    "drop view correction_log",
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


def _image_labels(sign: str, row: str) -> str:
    """Add or subtract what an image adds to the tallies of reviewers' agreement."""
    image = f"(select image_sha256 from predictions where id = {row}.prediction_id)"
    return "".join(
        f"""
        insert into pair_tallies
        select '{scope}', a.reviewer, b.reviewer, a.label, b.label, {sign}1
        from image_labels_{scope} a cross join image_labels_{scope} b
          on b.image_sha256 = a.image_sha256 and b.reviewer > a.reviewer
        where a.image_sha256 = {image}
        on conflict do update set images = images + excluded.images;
        insert into label_tallies
        select '{scope}', sum(label = 'normal'), sum(label = 'nsfw'), sum(label = 'unsure'),
          {sign}1
        from image_labels_{scope} where image_sha256 = {image} having count(*) > 1
        on conflict do update set images = images + excluded.images;
        """
        for scope in SCOPES
    )


def _outcome(prediction: str) -> str:
    """Derive a prediction's outcome anew."""
    changes = ", ".join(f"{column} = excluded.{column}" for column in OUTCOME_COLUMNS)
    return f"""
        delete from outcomes where prediction_id = {prediction} and not exists (
          select 1 from standing_decisions s where s.prediction_id = {prediction}
        );
        insert into outcomes
        select prediction_id, {", ".join(OUTCOME_COLUMNS)} from computed_outcomes
        where prediction_id = {prediction}
        on conflict (prediction_id) do update set {changes};
    """


def _log_rows(decisions: str) -> str:
    """Move rows of the log into the groups that they belong to now."""
    return f"""
        insert or ignore into log_groups (reviewer, model, label, agrees, undone, audience)
        select reviewer, model, label, agrees, undone, audience from computed_log_rows
        where decision_id in ({decisions});
        update log_rows set group_id = (
          select g.id from computed_log_rows c join log_groups g
            on g.reviewer = c.reviewer and g.model = c.model and g.label = c.label
              and g.agrees = c.agrees and g.undone = c.undone and g.audience = c.audience
          where c.decision_id = log_rows.decision_id
        )
        where decision_id in ({decisions});
    """


def _audience(prediction: str) -> str:
    """Derive anew who may know of the decisions about a prediction."""
    audience = AUDIENCE.format(prediction=prediction)
    return f"""
        update standing_decisions set audience = {audience}
        where prediction_id = {prediction} and audience <> {audience};
        {_log_rows(f"select id from decisions where prediction_id = {prediction}")}
    """


def _rivals(row: str) -> str:
    """Count the other decided predictions of the same image by the same model."""
    return f"""
        update outcomes set rivals = (
          select count(*) from predictions own cross join predictions other
            on other.image_sha256 = own.image_sha256 and other.model = own.model
              and other.revision = own.revision and other.id <> own.id
          where own.id = outcomes.prediction_id
            and exists (select 1 from standing_decisions s where s.prediction_id = other.id)
        )
        where prediction_id in (
          select other.id from predictions own cross join predictions other
            on other.image_sha256 = own.image_sha256 and other.model = own.model
              and other.revision = own.revision and other.id <> own.id
          where own.id = {row}.prediction_id
        );
    """


def _queue_count(sign: str, row: str) -> str:
    """Count an open entry, or count it no more."""
    return f"""
        insert into queue_counts
        select {row}.decided_by, {row}.priority, {sign}1 where {row}.settled_at is null
        on conflict do update set entries = entries + excluded.entries;
        delete from queue_counts
        where decided_by = {row}.decided_by and priority = {row}.priority and entries = 0;
    """


def _log_tally(sign: str, row: str) -> str:
    """Count a row of the log in its group and day, or count it no more."""
    return f"""
        update log_groups set entries = entries {sign} 1 where id = {row}.group_id;
        insert into log_tallies
        select {row}.group_id, substr(d.decided_at, 1, 10), {sign}1 from decisions d
        where d.id = {row}.decision_id
        on conflict do update set entries = entries + excluded.entries;
        delete from log_tallies where group_id = {row}.group_id and entries = 0 and day = (
          select substr(d.decided_at, 1, 10) from decisions d where d.id = {row}.decision_id
        );
    """


def _standing_changed(row: str) -> str:
    """Derive anew what depends on the standing decisions about a prediction."""
    return f"""
        {_log_rows(f"{row}.decision_id")}
        update queue set decided_by = {DECIDED_BY.format(prediction=f"{row}.prediction_id")}
        where prediction_id = {row}.prediction_id;
        {_outcome(f"{row}.prediction_id")}
        {_rivals(row)}
    """


LATEST_STANDING = f"""
select d.id from decisions d
where d.prediction_id = new.prediction_id and d.reviewer = new.reviewer
  and d.label is not null and not {UNDONE.format(row="d")}
order by d.id desc limit 1
"""
SEALED = "({row}.settled_at is null and {row}.answers_wanted > 1)"
TRIGGERS = (
    """
    create trigger predictions_identified after insert on predictions begin
      insert or ignore into model_identities (model, revision, weights_sha256, backend)
      values (new.model, new.revision, new.weights_sha256, new.backend);
    end
    """,
    f"""
    create trigger decisions_added after insert on decisions begin
      insert into log_days select substr(new.decided_at, 1, 10), new.id, new.id
      where new.label is not null
      on conflict (day) do update
      set first_id = min(first_id, excluded.first_id), last_id = max(last_id, excluded.last_id);
      insert or ignore into log_groups (reviewer, model, label, agrees, undone, audience)
      select reviewer, model, label, agrees, undone, audience from computed_log_rows
      where decision_id = new.id;
      insert into log_rows
      select c.decision_id, g.id from computed_log_rows c join log_groups g
        on g.reviewer = c.reviewer and g.model = c.model and g.label = c.label
          and g.agrees = c.agrees and g.undone = c.undone and g.audience = c.audience
      where c.decision_id = new.id;
      delete from standing_decisions
      where prediction_id = new.prediction_id and reviewer = new.reviewer
        and not exists ({LATEST_STANDING});
      update standing_decisions
      set (decision_id, label, model_label, decided_at, elapsed_ms) = (
        select d.id, d.label, d.model_label, d.decided_at, d.elapsed_ms
        from decisions d where d.id = ({LATEST_STANDING})
      )
      where prediction_id = new.prediction_id and reviewer = new.reviewer
        and decision_id <> ({LATEST_STANDING});
      insert into standing_decisions
      select d.prediction_id, d.reviewer, d.id, d.label, d.model_label, d.decided_at,
        d.elapsed_ms, {AUDIENCE.format(prediction="new.prediction_id")}
      from decisions d where d.id = ({LATEST_STANDING}) and not exists (
        select 1 from standing_decisions s
        where s.prediction_id = new.prediction_id and s.reviewer = new.reviewer
      );
    end
    """,
    f"""
    create trigger standing_decisions_adding before insert on standing_decisions begin
      {_image_labels("-", "new")}
    end
    """,
    f"""
    create trigger standing_decisions_added after insert on standing_decisions begin
      {_image_labels("+", "new")}
      {_standing_changed("new")}
    end
    """,
    f"""
    create trigger standing_decisions_removing before delete on standing_decisions begin
      {_image_labels("-", "old")}
    end
    """,
    f"""
    create trigger standing_decisions_removed after delete on standing_decisions begin
      {_image_labels("+", "old")}
      {_standing_changed("old")}
    end
    """,
    f"""
    create trigger standing_decisions_changing before update on standing_decisions begin
      {_image_labels("-", "old")}
    end
    """,
    f"""
    create trigger standing_decisions_changed after update on standing_decisions begin
      {_image_labels("+", "new")}
    end
    """,
    f"""
    create trigger standing_decisions_replaced
    after update of decision_id on standing_decisions
    when old.decision_id <> new.decision_id
    begin
      {_log_rows("old.decision_id, new.decision_id")}
      {_outcome("new.prediction_id")}
    end
    """,
    f"""
    create trigger queue_entered after insert on queue begin
      {_queue_count("+", "new")}
      update queue set
        nsfw_score = (select nsfw_score from predictions where id = new.prediction_id),
        decided_by = {DECIDED_BY.format(prediction="new.prediction_id")}
      where id = new.id;
      {_audience("new.prediction_id")}
      {_outcome("new.prediction_id")}
    end
    """,
    f"""
    create trigger queue_recounted
    after update of settled_at, priority, decided_by on queue
    when (old.settled_at is null) <> (new.settled_at is null)
      or old.priority <> new.priority or old.decided_by <> new.decided_by
    begin
      {_queue_count("-", "old")}
      {_queue_count("+", "new")}
    end
    """,
    f"""
    create trigger queue_changed
    after update of settled_at, settled_label, answers_wanted, decided_by on queue
    when {SEALED.format(row="old")} <> {SEALED.format(row="new")}
      or {SEALED.format(row="new")} and old.decided_by <> new.decided_by
      or old.settled_label is not new.settled_label
      or (old.settled_at is null) <> (new.settled_at is null)
    begin
      {_audience("new.prediction_id")}
      {_outcome("new.prediction_id")}
    end
    """,
    f"""
    create trigger queue_removed after delete on queue begin
      {_queue_count("-", "old")}
      {_audience("old.prediction_id")}
      {_outcome("old.prediction_id")}
    end
    """,
    f"""
    create trigger training_labels_added after insert on training_labels begin
      {_outcome("new.prediction_id")}
    end
    """,
    f"""
    create trigger log_rows_added after insert on log_rows begin
      {_log_tally("+", "new")}
    end
    """,
    f"""
    create trigger log_rows_moved after update of group_id on log_rows
    when old.group_id <> new.group_id
    begin
      {_log_tally("-", "old")}
      {_log_tally("+", "new")}
    end
    """,
)

# Statements that derive the rows of an older database, in order: each uses the ones before.
# With a range, a statement is executed in batches of that column's values.
FILLS: Mapping[str, str | None] = MappingProxyType(
    {
        """
        insert or ignore into model_identities (model, revision, weights_sha256, backend)
        select distinct model, revision, weights_sha256, backend from predictions
        """: None,
        """
        insert into standing_decisions select * from computed_standing_decisions
        where prediction_id > :after and prediction_id <= :up_to order by prediction_id, reviewer
        """: "predictions",
        f"""
        update queue set
          nsfw_score = (select p.nsfw_score from predictions p where p.id = prediction_id),
          decided_by = {DECIDED_BY.format(prediction="queue.prediction_id")}
        where id > :after and id <= :up_to
        """: "queue",
        """
        update standing_decisions as s set audience = q.decided_by
        from queue q
        where q.settled_at is null and q.answers_wanted > 1 and q.prediction_id = s.prediction_id
          and q.id > :after and q.id <= :up_to
        """: "queue",
        f"""
        insert into outcomes
        select prediction_id, {", ".join(OUTCOME_COLUMNS)} from computed_outcomes
        where prediction_id > :after and prediction_id <= :up_to order by prediction_id
        """: "predictions",
        "insert into pair_tallies select * from computed_pair_tallies": None,
        "insert into label_tallies select * from computed_label_tallies": None,
        "insert into queue_counts select * from computed_queue_counts": None,
        """
        insert or ignore into log_groups (reviewer, model, label, agrees, undone, audience)
        select distinct reviewer, model, label, agrees, undone, audience from computed_log_rows
        where decision_id > :after and decision_id <= :up_to
        """: "decisions",
        """
        insert into log_rows
        select c.decision_id, g.id from computed_log_rows c join log_groups g
          on g.reviewer = c.reviewer and g.model = c.model and g.label = c.label
            and g.agrees = c.agrees and g.undone = c.undone and g.audience = c.audience
        where c.decision_id > :after and c.decision_id <= :up_to order by c.decision_id
        """: "decisions",
        "insert into log_days select * from computed_log_days": None,
        "insert into log_tallies select * from computed_log_tallies": None,
        """
        update log_groups set entries = (
          select coalesce(sum(t.entries), 0) from log_tallies t where t.group_id = log_groups.id
        )
        """: None,
    }
)


def create_derived_tables(db: Database, progress: Callable[[int, int], None]) -> None:
    """Create the tables, derive the rows of an older database, then add indexes and triggers.

    Args:
        db: Where a transaction is open: what is killed leaves nothing behind and starts again.
        progress: Called with the number of rows done and of all rows, after each batch.
    """
    cache = db.execute("pragma cache_size").fetchone()[0]
    db.execute(f"pragma cache_size = -{CACHE_KB}")
    for statement in (*TABLES, *VIEWS):
        db.execute(statement)
    last = {
        table: db.execute(f"select coalesce(max(id), 0) from {table}").fetchone()[0]
        for table in ("predictions", "decisions", "queue")
    }
    steps = [last[table] if table else 0 for table in FILLS.values()]
    done, total = 0, sum(steps)
    for (statement, table), rows in zip(FILLS.items(), steps, strict=True):
        if table is None:
            db.execute(statement)
            continue
        for after in range(0, rows, BATCH_SIZE):
            up_to = min(after + BATCH_SIZE, rows)
            db.execute(statement, {"after": after, "up_to": up_to})
            progress(done + up_to, total)
        done += rows
    for statement in (*INDEXES, *TRIGGERS):
        db.execute(statement)
    db.execute(f"pragma cache_size = {cache}")
