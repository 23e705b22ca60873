"""Labels from elsewhere of images that are not stored, such as those of a scan.

- Rows are only added: of a source's labels of an image the latest counts.
"""

UNSTORED_LABELS = (
    """
    create table unstored_labels (
      id integer primary key,
      image_sha256 text not null,
      source text not null,
      label text not null check (label in ('normal', 'nsfw')),
      recorded_at text not null
    )
    """,
    "create index unstored_labels_by_image on unstored_labels (image_sha256, source, id)",
    *(
        f"""
        create trigger unstored_labels_no_{change} before {change} on unstored_labels
        begin select raise(abort, 'labels are append-only'); end
        """
        for change in ("update", "delete")
    ),
)
