"""Checks of an installation: database, previews, secrets, optimized models, disk, clock, snapshots.

- Each module checks one thing and returns findings; none changes anything.
- They may run while the server does.
"""
