"""Settings of the dataset repository in which decisions are saved."""

import re
from typing import Any, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from nsfw_app.settings.network import NetworkSettings

REPOSITORY = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
INSTANCE = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
DEFAULT_INSTANCE = "main"


def _instance(data: dict[str, Any]) -> str:
    """The name of the Space, as a directory."""
    name = re.sub(r"[^A-Za-z0-9._-]+", ".", str(data.get("space_id") or ""))
    return name or DEFAULT_INSTANCE


class HubDatasetSettings(NetworkSettings):
    """Where decisions are saved, and with which token."""

    hub_dataset: str = Field(
        "",
        description="Private dataset repository of the Hugging Face Hub, `org/name`, in which "
        "decisions and scores are saved every minute, and from which an empty data directory is "
        "restored.",
    )
    hf_token: SecretStr = Field(
        SecretStr(""),
        validation_alias="HF_TOKEN",
        description="Token of the Hugging Face Hub; with write access to NSFW_HUB_DATASET where "
        "that is set.",
    )
    hub_previews: bool = Field(
        False, description="Whether previews are saved in NSFW_HUB_DATASET, too."
    )
    hub_instance: str = Field(
        default_factory=_instance,
        description="Name under which this server saves in NSFW_HUB_DATASET: letters, digits and "
        ". _ - only, another one for each server. On a Space its name.",
    )

    @field_validator("hub_dataset")
    @classmethod
    def _repository(cls, name: str) -> str:
        if name and not re.fullmatch(REPOSITORY, name):
            raise PydanticCustomError(
                "hub_dataset",
                "It is not a repository of the form org/name: letters, digits and . _ - only",
            )
        return name

    @field_validator("hub_instance")
    @classmethod
    def _directory(cls, name: str) -> str:
        if not re.fullmatch(INSTANCE, name):
            raise PydanticCustomError(
                "hub_instance", "It is not a name of letters, digits and . _ - only"
            )
        return name

    @model_validator(mode="after")
    def _authorized(self) -> Self:
        if self.hub_dataset and not self.hf_token.get_secret_value():
            raise ValueError(
                f"NSFW_HUB_DATASET={self.hub_dataset!r} needs a token: set HF_TOKEN to one with "
                "write access to it, on a Space as a secret."
            )
        return self
