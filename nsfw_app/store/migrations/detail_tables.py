"""Predictions of the detail model, the second one, and rules of categories in policies.

The second model's predictions have a table of their own, because they are of images that another
model judged: they never arrive, wait, or have decisions.
"""

from nsfw_app.store.migrations.hub_tables import triggers

DETAIL_TABLES = (
    """
    create table detail_predictions (
      id integer primary key,
      image_sha256 text not null references images (sha256),
      model text not null,
      revision text not null,
      backend text not null,
      weights_sha256 text not null,
      probabilities text not null,
      frame integer not null,
      background text not null,
      predicted_at text not null,
      unique (image_sha256, frame, background, model, revision, backend)
    )
    """,
    "alter table policies add column category_rules text not null default '[]'",
    *triggers("detail_predictions"),
)
