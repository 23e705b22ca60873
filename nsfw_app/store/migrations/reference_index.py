"""An index of accepted references, which are read whenever evidence is, among all of the audit."""

REFERENCE_INDEX = ("create index audit_references on audit (subject) where action = 'reference'",)
