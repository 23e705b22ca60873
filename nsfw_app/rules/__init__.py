"""Pure decisions without I/O: verdicts, queue rules, retention and permissions."""
