"""Images as they arrive, with the probability with which the queue rules draw them."""

# `id` rises in order of arrival. `probability` is 0 where the rules never draw an image of this
# score. An image that arrives again is not a second row.
ARRIVAL_TABLE = (
    """
    create table arrivals (
      id integer primary key,
      prediction_id integer not null unique references predictions (id),
      arrived_at text not null,
      source text not null,
      probability real not null,
      drawn integer not null,
      policy_version integer not null
    )
    """,
)
