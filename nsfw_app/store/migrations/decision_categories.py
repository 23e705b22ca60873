"""Categories of decisions and of webhook messages, as JSON lists.

They are null where no reviewer was asked for categories.
"""

DECISION_CATEGORIES = (
    "alter table decisions add column categories text",
    "alter table deliveries add column categories text",
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
      d.warnings, d.seen_ms, d.categories
    from decisions d join predictions p on p.id = d.prediction_id
    where d.label is not null
    """,
)
