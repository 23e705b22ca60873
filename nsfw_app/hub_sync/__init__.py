"""Saves decisions, scores and the state of review in a private dataset repository; restores them.

- A change is saved within a minute; each commit adds one file, under a path of its own writer.
- Files are rolled up, so that their number stays small however long a server runs.
- An empty data directory is restored from the repository.
- huggingface_hub speaks to the hub.
"""
