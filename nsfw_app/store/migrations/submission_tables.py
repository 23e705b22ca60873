"""Submissions by programs, and messages to their webhooks."""

# The trigger writes a message for each submission when an entry is settled.
SUBMISSION_TABLES = (
    "alter table api_keys add column webhook_url text",
    "alter table api_keys add column webhook_secret text",
    """
    create table submissions (
      id text primary key,
      prediction_id integer not null references predictions (id),
      owner text not null,
      name text not null,
      key_name text references api_keys (name),
      submitted_at text not null
    )
    """,
    "create index submissions_by_prediction on submissions (prediction_id)",
    """
    create table deliveries (
      id text primary key,
      submission_id text not null references submissions (id),
      label text,
      created_at text not null,
      next_at text not null,
      attempts integer not null default 0,
      delivered_at text,
      given_up_at text,
      last_status integer,
      last_error text
    )
    """,
    "create index deliveries_by_submission on deliveries (submission_id)",
    """
    create index deliveries_due on deliveries (next_at)
    where delivered_at is null and given_up_at is null
    """,
    """
    create trigger queue_settled after update of settled_at, settled_label on queue
    when new.settled_at is not null
      and (old.settled_at is null or old.settled_label is not new.settled_label)
    begin
      insert into deliveries (id, submission_id, label, created_at, next_at)
      select lower(hex(randomblob(16))), s.id, new.settled_label, new.settled_at, new.settled_at
      from submissions s join api_keys k on k.name = s.key_name
      where s.prediction_id = new.prediction_id
        and k.webhook_url is not null and k.revoked_at is null;
    end
    """,
)
