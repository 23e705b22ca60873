"""The Log tab: decisions, filtered and paged in SQL, and their export."""

from nsfw_app.ui.components import LogTable


def create_log_tab() -> None:
    """One component; its script loads a page of the log whenever the tab is opened."""
    LogTable("log-table")
