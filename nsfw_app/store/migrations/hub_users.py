"""Users are saved in a dataset repository as well, so that a disabled one stays disabled."""

from nsfw_app.store.migrations.hub_tables import key_of, triggers

HUB_USERS = (
    *triggers("users"),
    f"""
    insert into hub_changes (source, key)
    select 'users', {key_of("users", "")} from users
    where exists (select 1 from hub_writer) order by name
    """,
)
