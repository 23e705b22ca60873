"""The dataset card: what the files are, what their columns mean, and how much each server saved.

Each server changes its own line of the table of servers only.
"""

import re
from collections.abc import Mapping

from nsfw_app.hub_sync.event_files import LISTS, TABLES, features
from nsfw_app.hub_sync.layout import LAYOUT

COUNTED = {
    "images": "images",
    "predictions": "predictions",
    "decisions": "decisions and undos",
    "queue": "queue entries",
    "training_labels": "training labels",
    "audit": "audit rows",
}
HEAD = f"| server | {' | '.join(COUNTED.values())} | up to |"
RULE = f"|---|{'---:|' * len(COUNTED)}---|"
MEANINGS = {
    "kind": "what the row is: " + ", ".join(f"`{kind}`" for kind in TABLES),
    "key": "its key in the database, a JSON list",
    "batch": "the save that it was part of; a server counts them",
    "deleted": "whether the row was deleted: a skip or an escalation that was undone",
    "at": "when it was recorded, ISO 8601 in UTC",
    "actor": "who recorded it: the reviewer, author or uploader",
    "image_sha256": "the image",
    "name": "its file name; of a user, the name",
    "source": "where it came from",
    "model": "the model whose prediction it is about",
    "revision": "the revision of that model",
    "backend": "what computed the prediction",
    "nsfw_score": "the score, in [0, 1]",
    "threshold": "the threshold that the reviewer saw",
    "model_label": "the label of the model at that threshold",
    "label": "what the reviewer said, or the entry settled on: `normal`, `nsfw` or `unsure`",
    "reasons": "reason codes of a decision",
    "note": "note of a decision, reason of a policy, action of an audit row",
    "undoes": "the decision that an undo takes back",
    "row": "all columns of the row of the database, as JSON",
    "preview": "a re-encoded JPEG of an image, where previews are saved",
    "categories": "categories that a decision names; null where none were asked for",
}
# With them, `load_dataset` also reads files from before a column was added: it is null in these.
FEATURES = "dataset_info:\n  features:\n" + "".join(
    f"  - name: {name}\n    "
    + ("list: string" if name in LISTS else f"dtype: {feature.get('dtype', 'image')}")
    + "\n"
    for name, feature in features().items()
)
OLD_FEATURES = re.compile(r"^dataset_info:\n(?: .*\n)*", re.MULTILINE)
MEANING_ROWS = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in MEANINGS.items())
TEXT = f"""---
pretty_name: Decisions of NSFW Review
viewer: true
tags:
- nsfw-review
- content-moderation
{FEATURES}configs:
- config_name: default
  data_files:
  - split: train
    path: data/*/*/*.parquet
---

# Decisions of NSFW Review

Decisions of moderators, the scores they were about, and the state of their queue. NSFW Review saves
them every minute, and reads them when a server starts with an empty disk.

**Private.** It has names of people and of images, accounts of users without their passwords, and
may have previews of images that are not safe. Keep this repository private: a server refuses to
save in a public one.

## Servers

{HEAD}
{RULE}

## Read it

```python
from datasets import load_dataset

events = load_dataset("{{repository}}", split="train")
decisions = events.filter(lambda event: event["kind"] == "decision")
```

Layout {LAYOUT}: each file in `data/SERVER/HISTORY/` has the batches that one server saved. A row of
a file is the state of one row of the database when it was saved. Of rows with the same server,
history, `kind` and `key` the one with the highest `batch` is in force.

Where a server has several histories, a later one has the rows of the earlier one again. Read the
last one of each server, so that no decision counts twice:

```python
load_dataset("{{repository}}", data_files="data/SERVER/HISTORY/*.parquet", split="train")
```

| column | meaning |
|---|---|
{MEANING_ROWS}
"""


def updated(
    card: str, *, repository: str, instance: str, counts: Mapping[str, int], moment: str
) -> str:
    """The card with the line of a server as it is now.

    Args:
        card: The card as it is; empty for none.
        repository: The name of the repository.
        instance: The name of the server.
        counts: The rows of each table.
        moment: Up to when it was saved.
    """
    text = card if HEAD in card else TEXT.replace("{repository}", repository)
    if FEATURES not in text:  # an earlier version wrote it
        text = OLD_FEATURES.sub("", text).replace("\nconfigs:\n", f"\n{FEATURES}configs:\n", 1)
    cells = " | ".join(f"{counts[table]:,}" for table in COUNTED)
    line = f"| {instance} | {cells} | {moment} |"
    own = re.compile(rf"^\| {re.escape(instance)} \|.*$", re.MULTILINE)
    if own.search(text):
        return own.sub(lambda _: line, text, count=1)
    return text.replace(RULE, f"{RULE}\n{line}", 1)
