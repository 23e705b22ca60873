"""Webhook messages that follow the state of an image instead of that of a queue entry."""

# Messages that wait are given up where the key was revoked, or where the image is not, or not any
# more, in the state that they report.
WEBHOOK_EVENTS = (
    "drop trigger queue_settled",
    "alter table api_keys add column webhook_gone_at text",
    "alter table deliveries add column event text not null default 'image.settled'",
    "update deliveries set event = 'image.withdrawn' where label is null",
    """
    update deliveries set given_up_at = strftime('%Y-%m-%dT%H:%M:%fZ'),
      last_error = 'The key was revoked, or the image has another state now.'
    where delivered_at is null and given_up_at is null and not exists (
      select 1 from submissions s
      join api_keys k on k.name = s.key_name and k.revoked_at is null
      join queue q on q.id = (
        select max(latest.id) from queue latest where latest.prediction_id = s.prediction_id
      )
      where s.id = deliveries.submission_id
        and q.settled_at is not null and q.settled_label is deliveries.label
    )
    """,
)
