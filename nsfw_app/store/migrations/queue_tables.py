"""The queue and its skips, training labels, perceptual hashes, times of decisions."""

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
