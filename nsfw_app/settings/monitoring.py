"""Settings of the server's log."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


class MonitoringSettings(BaseSettings):
    """What the server writes to its log."""

    model_config = SettingsConfigDict(env_prefix="NSFW_", frozen=True, validate_default=True)

    log: LogFormat = Field(
        "text", description="Format of the server's log: `text`, or `json` with one object a line."
    )
    log_level: LogLevel = Field(
        "info",
        description="Least severe records of the server's log: debug, info, warning or error. "
        "Names of images are logged at debug only.",
    )
