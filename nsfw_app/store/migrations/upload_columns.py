"""Uploads that may put an image into the queue, and name it for reviewers."""

# Of earlier uploads only those of current viewers are known not to be.
QUEUEING_UPLOADS = (
    "alter table uploads add column queues integer not null default 1",
    """
    update uploads set queues = 0
    where owner in (select 'user:' || name from users where role = 'viewer')
    """,
)
