"""Checks of an installation: settings, database, previews, secrets, models, disk, clock, snapshots.

- Each module checks one thing and returns findings; none changes anything.
- They may run while the server does.
"""
