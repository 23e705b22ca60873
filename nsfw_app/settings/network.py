"""Settings of the address at which the page is served, and of sign-in on a Space."""

import re
from ipaddress import ip_network
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from nsfw_app.rules.permissions import UserRole
from nsfw_app.settings.values import split_items, split_pairs

EVERYWHERE = "0.0.0.0"  # noqa: S104  # a Space is reached through its host's proxy
ANY_PROXY = "*"
# Browsers resolve dot segments, so that a path with one would not be the prefix.
ROOT_PATH = r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*"


def is_on_space(data: dict[str, Any]) -> bool:
    """Whether these values are those of a Hugging Face Space; for defaults that differ there."""
    return bool(data.get("space_id"))


class NetworkSettings(BaseSettings):
    """Addresses, proxies and sign-in."""

    model_config = SettingsConfigDict(env_prefix="NSFW_", frozen=True, validate_default=True)

    space_id: str = Field(
        "", validation_alias="SPACE_ID", description="Set by Hugging Face Spaces."
    )
    space_host: str = Field(
        "", validation_alias="SPACE_HOST", description="Set by Hugging Face Spaces."
    )
    forwarded_allow_ips: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        validation_alias="FORWARDED_ALLOW_IPS",
        description="IP addresses and networks of the reverse proxies whose X-Forwarded-For, "
        "-Proto, -Host and -Prefix are trusted, separated by commas; `*` for every peer.",
    )
    oauth_client_id: str = Field(
        "",
        validation_alias="OAUTH_CLIENT_ID",
        description="Set by Hugging Face Spaces with hf_oauth.",
    )
    oauth_client_secret: str = Field(
        "",
        validation_alias="OAUTH_CLIENT_SECRET",
        description="Set by Hugging Face Spaces with hf_oauth.",
    )
    oauth_provider_url: str = Field(
        "https://huggingface.co",
        validation_alias="OPENID_PROVIDER_URL",
        description="Set by Hugging Face Spaces with hf_oauth.",
    )
    host: str = Field(
        default_factory=lambda data: EVERYWHERE if is_on_space(data) else "127.0.0.1",
        description="Address to listen on. Other addresses than 127.0.0.1 need users who sign in.",
    )
    port: int = Field(7860, ge=0, le=65535, description="TCP port to listen on.")
    root_path: str = Field(
        "",
        description="Path prefix of the public address that a reverse proxy strips, such as "
        "`/review`.",
    )
    hub_roles: Annotated[dict[str, UserRole], NoDecode] = Field(
        {},
        description="On a Space: roles by the name of a user or an organization, such as "
        "`ann=admin,my-org=reviewer`. Others may try the Review tab only.",
    )

    @field_validator("hub_roles", mode="before")
    @classmethod
    def _roles(cls, value: object) -> object:
        return split_pairs(value)

    @field_validator("forwarded_allow_ips", mode="before")
    @classmethod
    def _peers(cls, value: object) -> object:
        return split_items(value)

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _networks(cls, peers: tuple[str, ...]) -> tuple[str, ...]:
        for peer in peers:
            if peer != ANY_PROXY:
                ip_network(peer)
        return peers

    @field_validator("root_path")
    @classmethod
    def _prefix(cls, value: str) -> str:
        path = value.rstrip("/")
        if not re.fullmatch(ROOT_PATH, path):
            raise PydanticCustomError(
                "root_path", "It is not a path of letters, digits and . _ ~ - that begins with /"
            )
        return path

    @property
    def on_space(self) -> bool:
        """Whether this runs as a Hugging Face Space."""
        return bool(self.space_id)

    @property
    def local_only(self) -> bool:
        """Whether only this machine can reach the page."""
        return self.host in {"127.0.0.1", "localhost"}
