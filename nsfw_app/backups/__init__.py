"""Backups of database and previews: archives, their encryption, restoring, periodic snapshots.

- A backup is taken while the server runs, and is consistent.
- It is written whole or not at all, and everything in it has a checksum.
- Nothing is put in place before all of it is verified, and nothing is overwritten.
- Optimized models, the text of the policy and settings are not in it.
"""
