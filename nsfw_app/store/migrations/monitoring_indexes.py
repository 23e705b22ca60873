"""Indexes by which metrics find messages that are not delivered.

`queue_oldest` is dropped: claims in order of age and the age of the oldest entries read
`queue_oldest_by_priority`, so that a decision writes one index less.
"""

MONITORING_INDEXES = (
    "drop index queue_oldest",
    """
    create index deliveries_pending on deliveries (created_at, delivered_at, given_up_at)
    where delivered_at is null and given_up_at is null
    """,
    """
    create index deliveries_given_up on deliveries (given_up_at) where given_up_at is not null
    """,
)
