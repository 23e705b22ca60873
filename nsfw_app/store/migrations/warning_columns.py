"""Warnings about images, missing pixels, and the background of transparent ones."""

# Earlier predictions have no warnings and no missing pixels, and were made on white.
WARNING_COLUMNS = (
    "alter table images add column warnings text not null default '[]'",
    "alter table images add column incomplete integer not null default 0",
    "alter table predictions add column ground text not null default 'white'",
    "alter table decisions add column warnings text not null default '[]'",
    "drop view correction_log",
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
        ) as undone,
      d.warnings
    from decisions d join predictions p on p.id = d.prediction_id
    where d.label is not null
    """,
)
