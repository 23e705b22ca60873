"""Calibrations of a model's scores: every version that was fitted."""

# `backends` is a JSON list, `curve` the function as JSON. A version is one of the same weights.
CALIBRATION_TABLE = (
    """
    create table calibrations (
      id integer primary key,
      model text not null,
      revision text not null,
      weights_sha256 text not null,
      backends text not null,
      version integer not null,
      method text not null,
      curve text not null,
      reviews integer not null,
      fitted_at text not null,
      author text not null,
      unique (model, revision, weights_sha256, version)
    )
    """,
)
