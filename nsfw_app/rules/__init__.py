"""Owns decisions without I/O: verdicts, queue rules, retention, roles and permissions."""
