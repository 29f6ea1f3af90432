"""The flows' one look at the environment, and the folders that the libraries must find there before they are imported."""

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models import environment, layout


class Settings(BaseSettings):
    """What the flows take from the environment.

    Attributes
    ----------
    home
        Absolute; all state of the embedded profile lies below it.
    profile
        Which stores are used: ``embedded`` files, or the ``scale`` servers.

    Raises
    ------
    ValueError
        If a name is unknown or a value is out of its range, in one line.
    """

    model_config = SettingsConfigDict(env_prefix=environment.PREFIX, extra="ignore", env_ignore_empty=True, frozen=True)

    home: Path = Field(default=Path(".attune"), validate_default=True)
    profile: Literal["embedded", "scale"] = "embedded"
    redis_url: str | None = None
    postgres_url: str | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "WARNING"

    def __init__(self, **values: Any) -> None:
        environment.refuse_unknown(os.environ)
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ValueError(environment.fault(error.errors()[0])) from None

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()


def prepare(home: Path) -> Path:
    """Make the home folder and point Prefect and BentoML into it.

    Returns
    -------
    The home as an absolute path.
    """
    home = home.expanduser().absolute()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ["BENTOML_HOME"] = str(home / layout.ARTIFACTS)
    os.environ["PREFECT_HOME"] = str(home / layout.PREFECT)
    return home
