"""Where adapters may be fetched from, and how long that may take."""

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from streams.registry.files import MissingArtifact
from streams.registry.remote.places import Place


class RemoteSettings(BaseSettings):
    """Settings of whoever fetches adapters: workers, and `lorelay adapters register`."""

    model_config = SettingsConfigDict(env_prefix="LORELAY_", extra="ignore")

    adapter_sources: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="s3:// and https:// folders below which adapters may be fetched, with commas "
        "between them: s3://models/adapters, https://artifacts.example. Unset: nothing is fetched.",
    )
    adapter_idle_seconds: float = Field(
        default=10.0, gt=0, description="The longest wait for a server's next byte."
    )
    adapter_fetch_seconds: float = Field(
        default=600.0, gt=0, description="The longest that fetching one adapter may take."
    )

    @field_validator("adapter_sources", mode="before")
    @classmethod
    def _split_sources(cls, sources: object) -> object:
        if isinstance(sources, str):
            return tuple(name.strip() for name in sources.split(",") if name.strip())
        return sources

    @field_validator("adapter_sources")
    @classmethod
    def _sound_sources(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(str(Place.parse(source)) for source in sources)
        except MissingArtifact as error:
            raise ValueError(str(error)) from error

    @property
    def sources(self) -> tuple[Place, ...]:
        """The allowed folders."""
        return tuple(map(Place.parse, self.adapter_sources))
