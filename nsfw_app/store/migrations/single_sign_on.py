"""Identities of users who sign in with a provider or a proxy; use of sessions and keys."""

# `issuer` is null for users with a password, and empty while the next identity of that name may
# take the account. `id_token` is encrypted; it ends the provider's session at sign-out.
SINGLE_SIGN_ON = (
    "alter table users add column issuer text",
    "alter table users add column subject text",
    "create unique index users_by_identity on users (issuer, subject) where subject is not null",
    "alter table sessions add column last_seen_at text",
    "alter table sessions add column id_token text",
    "alter table api_keys add column expires_at text",
    "alter table api_keys add column last_used_at text",
)
