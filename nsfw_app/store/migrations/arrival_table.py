"""Images as they arrive, with the probability with which the queue rules draw them.

The secret makes draws unpredictable: an uploader who knows which images are audited avoids audits.
"""

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
    "create table draw_secret (secret text not null)",
    "insert into draw_secret values (lower(hex(randomblob(32))))",
)
