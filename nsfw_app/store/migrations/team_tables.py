"""Escalations, the team's viewing defaults, admins who do not review, indexes of their queries."""

# An escalation has the values of its entry from before the first one; null where that opened it.
TEAM_TABLES = (
    """
    create table escalations (
      queue_id integer not null references queue (id),
      reviewer text not null,
      escalated_at text not null,
      had_skipped integer not null,
      reason text,
      priority integer,
      answers_wanted integer,
      primary key (queue_id, reviewer)
    ) without rowid
    """,
    """
    create table viewing_defaults (
      id integer primary key,
      blur_px integer,
      grayscale integer,
      grayscale_revealed integer,
      reveal text,
      pause_after integer,
      author text not null,
      set_at text not null
    )
    """,
    """
    create table not_reviewing (
      reviewer text primary key,
      since text not null
    ) without rowid
    """,
    """
    create index queue_oldest_by_priority on queue (decided_by, priority, entered_at, id)
    where settled_at is null
    """,
    "create index images_incomplete on images (sha256) where incomplete",
)
