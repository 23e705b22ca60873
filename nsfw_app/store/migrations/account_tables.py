"""Users, their sessions, API keys, and the audit."""

# Only hashes of passwords, session tokens and keys are stored.
ACCOUNT_TABLES = (
    """
    create table users (
      name text primary key collate nocase,
      password_hash text not null,
      role text not null check (role in ('viewer', 'reviewer', 'admin')),
      created_at text not null,
      disabled_at text
    )
    """,
    """
    create table sessions (
      token_sha256 text primary key,
      owner text not null,
      name text not null,
      organisations text not null,
      created_at text not null,
      expires_at text not null
    )
    """,
    "create index sessions_by_owner on sessions (owner)",
    """
    create table api_keys (
      id integer primary key,
      name text not null unique collate nocase,
      key_sha256 text not null unique,
      scopes text not null,
      per_minute integer not null check (per_minute > 0),
      created_at text not null,
      revoked_at text
    )
    """,
    """
    create table audit (
      id integer primary key autoincrement,
      at text not null,
      actor text not null,
      action text not null,
      subject text not null,
      details text not null
    )
    """,
    """
    create trigger audit_stays before update on audit
    begin select raise(abort, 'the audit is append-only'); end
    """,
    """
    create trigger audit_remains before delete on audit
    begin select raise(abort, 'the audit is append-only'); end
    """,
)
