"""Triggers that keep derived tables current, in the transaction of their source row."""

from nsfw_app.store.migrations.derived_tables import (
    AUDIENCE,
    DECIDED_BY,
    OUTCOME_COLUMNS,
    SCOPES,
    UNDONE,
)


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
    """Recompute a prediction's outcome."""
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
    """Recompute who may see the decisions about a prediction."""
    audience = AUDIENCE.format(prediction=prediction)
    return f"""
        update standing_decisions set audience = {audience}
        where prediction_id = {prediction} and audience <> {audience};
        {_log_rows(f"select id from decisions where prediction_id = {prediction}")}
    """


def _count_competing(row: str) -> str:
    """Count the predictions of the image and model by other backends that have decisions."""
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
    """Count an open entry, or uncount it."""
    return f"""
        insert into queue_counts
        select {row}.decided_by, {row}.priority, {sign}1 where {row}.settled_at is null
        on conflict do update set entries = entries + excluded.entries;
        delete from queue_counts
        where decided_by = {row}.decided_by and priority = {row}.priority and entries = 0;
    """


def _log_tally(sign: str, row: str) -> str:
    """Count a row of the log in its group and day, or uncount it."""
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
    """Recompute what depends on the standing decisions about a prediction."""
    return f"""
        {_log_rows(f"{row}.decision_id")}
        update queue set decided_by = {DECIDED_BY.format(prediction=f"{row}.prediction_id")}
        where prediction_id = {row}.prediction_id;
        {_outcome(f"{row}.prediction_id")}
        {_count_competing(row)}
    """


LATEST_STANDING = f"""
select d.id from decisions d
where d.prediction_id = new.prediction_id and d.reviewer = new.reviewer
  and d.label is not null and not {UNDONE.format(row="d")}
order by d.id desc limit 1
"""
RESTRICTED = "({row}.settled_at is null and {row}.answers_wanted > 1)"
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
    when {RESTRICTED.format(row="old")} <> {RESTRICTED.format(row="new")}
      or {RESTRICTED.format(row="new")} and old.decided_by <> new.decided_by
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


def audience_statements(prediction: str) -> list[str]:
    """Recompute who may see the decisions about a prediction, and its outcome."""
    script = _audience(prediction) + _outcome(prediction)
    return [statement for part in script.split(";") if (statement := part.strip())]
