"""Explanations of scores, kept while the preview of their image is."""

# `version` is that of the methods; `explanation` is a JSON object.
EXPLANATION_TABLE = (
    """
    create table explanations (
      prediction_id integer not null references predictions (id),
      version integer not null,
      explanation text not null,
      computed_at text not null,
      primary key (prediction_id, version)
    )
    """,
    """
    create trigger explanations_restricted after insert on restricted_images
    begin
      delete from explanations where prediction_id in (
        select id from predictions where image_sha256 = new.image_sha256
      );
    end
    """,
    """
    create trigger explanations_restricted_again after update on restricted_images
    when new.lifted_at is null
    begin
      delete from explanations where prediction_id in (
        select id from predictions where image_sha256 = new.image_sha256
      );
    end
    """,
)
