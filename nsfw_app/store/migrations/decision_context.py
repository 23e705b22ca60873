"""The circumstances of decisions, and images that only administrators may see.

- `seen` of a decision is null where it was not recorded. `queue_reason` and `draw_probability` are
  copies from the queue entry, which may be deleted later.
- `preview_views` has a row for each reviewer to whom the server sent a preview of an image, until
  that preview is deleted.
- `restricted_images` has a row for each image with a decision for the reason `minor_present`, also
  where that was undone. It is in force until an administrator lifts it.
- `agrees` of a group of the log is 1, 0, or -1 for unsure, which neither agrees nor disagrees.
"""

from nsfw_app.store.migrations.derived_tables import AUDIENCE

MINOR = "exists (select 1 from json_each({row}.reasons) where value = 'minor_present')"

DECISION_CONTEXT = (
    "alter table decisions add column seen integer",
    "alter table decisions add column seen_ms integer",
    "alter table decisions add column queue_reason text",
    "alter table decisions add column draw_probability real",
    "alter table decisions add column policy_version integer",
    "alter table training_labels add column seen integer",
    "alter table training_labels add column seen_ms integer",
    "update queue set draw_probability = 1 where reason = 'review'",
    "create index uploads_by_batch on uploads (owner, batch_id) where batch_id <> ''",
    """
    create table preview_views (
      image_sha256 text not null,
      reviewer text not null,
      viewed_at text not null,
      primary key (image_sha256, reviewer)
    ) without rowid
    """,
    """
    create table restricted_images (
      image_sha256 text primary key references images (sha256),
      decision_id integer not null references decisions (id),
      lifted_at text
    ) without rowid
    """,
    f"""
    create view computed_restricted_images as
    select p.image_sha256, max(d.id) as decision_id
    from decisions d join predictions p on p.id = d.prediction_id
    where instr(d.reasons, 'minor_present') and {MINOR.format(row="d")}
    group by p.image_sha256
    """,
    f"""
    insert into restricted_images
    select c.image_sha256, c.decision_id,
      case when not exists (
        select 1 from standing_decisions s join decisions d on d.id = s.decision_id
          join predictions p on p.id = s.prediction_id
        where p.image_sha256 = c.image_sha256 and {MINOR.format(row="d")}
      ) then strftime('%Y-%m-%dT%H:%M:%fZ', 'now') end
    from computed_restricted_images c
    """,
    f"""
    create trigger decisions_restricting after insert on decisions
    when instr(new.reasons, 'minor_present') and {MINOR.format(row="new")}
    begin
      insert into restricted_images
      select image_sha256, new.id, null from predictions where id = new.prediction_id
      on conflict do update set decision_id = excluded.decision_id, lifted_at = null;
    end
    """,
    "update log_groups set agrees = -1 where label = 'unsure'",
    "drop view computed_log_rows",
    f"""
    create view computed_log_rows as
    select d.id as decision_id, d.reviewer, p.model, d.label,
      case when d.label = 'unsure' then -1 else d.label = d.model_label end as agrees,
      not exists (
        select 1 from standing_decisions s
        where s.prediction_id = d.prediction_id and s.reviewer = d.reviewer
          and s.decision_id = d.id
      ) as undone,
      {AUDIENCE.format(prediction="d.prediction_id")} as audience
    from decisions d join predictions p on p.id = d.prediction_id
    where d.label is not null
    """,
    "drop view correction_log",
    """
    create view correction_log as
    select
      d.id as decision_id, d.decided_at, d.reviewer, p.image_sha256, d.name, d.source,
      p.model, p.revision, p.backend, p.nsfw_score, d.threshold, d.model_label,
      d.label as reviewer_label,
      case when d.label <> 'unsure' then d.label = d.model_label end as agrees,
      d.reasons, d.note, d.batch_id,
      not exists (
        select 1 from standing_decisions s
        where s.prediction_id = d.prediction_id and s.reviewer = d.reviewer
          and s.decision_id = d.id
      ) as undone,
      d.seen, d.elapsed_ms, d.queue_reason, d.draw_probability, d.policy_version,
      (
        select o.label from outcomes o
        where o.prediction_id = d.prediction_id and o.waiting = 0
      ) as settled_label,
      d.warnings, d.seen_ms
    from decisions d join predictions p on p.id = d.prediction_id
    where d.label is not null
    """,
)
