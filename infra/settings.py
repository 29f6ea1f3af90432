"""Settings from the environment: prefix ``ATTUNE_``, unknown names refused.

A field of `Settings` is all that a setting needs: its name in the environment, its range and its default follow from it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from infra import layout
from models.engagement.silence import STEPS_S

DAY_S: Final = 86_400
PREFIX: Final = "ATTUNE_"
TEST_PREFIX: Final = "ATTUNE_TEST_"  # where the tests find servers and data; no setting of ours


class Settings(BaseSettings):
    """All settings; building them checks every name and value.

    Attributes
    ----------
    home
        Absolute; all state of the embedded profile lies below it.
    profile
        Which stores are used: ``embedded`` files, or the ``scale`` servers.
    store_url
        ``postgresql://…`` of the server that holds the store; the home's own file, if not given.
    objects_url
        ``s3://BUCKET/PREFIX`` of the object storage, or ``file:///FOLDER``, that holds the models for all machines and the
        log's archive; the home alone and no archive, if not given. Keys, region and address are the usual ``AWS_…`` names.
    secret
        64 hexadecimal digits: the key behind every pseudonym, where it does not lie in the home.
    redis_url
        ``redis://…`` of the server of online features in the scale profile; with it, all replicas use up one limit of a key.
    workers
        Processes that answer requests.
    access_log
        A line on standard error for every answer, with its request id; as text or as JSON.
    least_free_mib
        While less is free on the disk of the home, nothing is written: events get 503, recommendations go on.
    retention_days
        What is older is removed by the worker; nothing is, if not given.
    feature_max_age_s
        An online feature whose event timestamp is older than this many seconds is not used, and the answer says so.
    reward_window_s
        Seconds after a decision within which a purchase or cart of a shown item counts for it.
    one_shop
        Whether the events of all partners count for one another in what is learned of items, from the next training on.
    requests_per_minute
        What one server key may ask, all workers together, unless the key has a limit of its own.
    browser_requests_per_minute, browser_requests_per_peer
        The same of a browser key, and of one address with one browser key.
    connections, connections_per_peer
        That each process holds, in all and of one address (an IPv6 network of 64 bits); loopback is limited in all only.
    header_timeout_s, idle_timeout_s
        Until when the head of a request must be there, and how long a connection is kept for the next one.
    catalog_items
        What the catalogue of one partner may hold.
    allow_private_webhooks
        For development: webhooks may go to http, loopback and private addresses.
    webhook_consent
        Whether an endpoint must repeat a challenge before the first message goes to its address.
    shadow_share
        Share of the requests that a challenger, where there is one, answers a second time, unseen.
    silence_steps_s
        After so many seconds of silence a visitor is looked at again: rising, at most a day; with commas between them.
    trial_share
        Probability with which the bandit deals each weight profile of a challenger, at least 1 %; 0 deals none.
    console_user_header
        Header in which a proxy in front of the console names the operator whom it has made sure of; whoever reaches the console
        past the proxy can write it too, so it is for a console that only the proxy reaches.

    Raises
    ------
    ValueError
        If a name with our prefix is no setting, or a value is out of its range; in one line, without the value.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", env_ignore_empty=True, frozen=True)

    home: Path = Field(default=Path(".attune"), validate_default=True)
    profile: Literal["embedded", "scale"] = "embedded"
    redis_url: str | None = Field(default=None, pattern="^rediss?://", repr=False)
    postgres_url: str | None = None
    store_url: str | None = Field(default=None, pattern="^postgres(ql)?://", repr=False)
    objects_url: str | None = Field(default=None, pattern="^(s3://[^/?#]+|file:///[^/?#]+)(/[^?#]*)?$", repr=False)
    secret: str | None = Field(default=None, pattern="^[0-9a-fA-F]{64}$", repr=False)
    host: str = "127.0.0.1"
    port: int = Field(default=3000, ge=0, le=65_535)
    workers: int = Field(default=1, ge=1, le=256)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "WARNING"
    access_log: Literal["off", "text", "json"] = "off"
    least_free_mib: int = Field(default=64, ge=0, le=1 << 20)
    retention_days: int | None = Field(default=None, ge=1, le=36_500)
    feature_max_age_s: int = Field(default=30 * 86_400, ge=1)
    reward_window_s: int = Field(default=3600, ge=1, le=7 * 86_400)
    one_shop: bool = False
    requests_per_minute: int = Field(default=600_000, ge=1)
    browser_requests_per_minute: int = Field(default=6_000, ge=1)
    browser_requests_per_peer: int = Field(default=300, ge=1)
    connections: int = Field(default=1000, ge=1, le=100_000)
    connections_per_peer: int = Field(default=100, ge=1, le=100_000)
    header_timeout_s: float = Field(default=5.0, gt=0, le=600)
    idle_timeout_s: float = Field(default=75.0, gt=0, le=3600)
    catalog_items: int = Field(default=500_000, ge=1, le=10_000_000)
    allow_private_webhooks: bool = False
    webhook_consent: bool = False
    shadow_share: float = Field(default=0.05, ge=0, le=1)
    trial_share: float = Field(default=0.01, ge=0, le=0.5)
    console_user_header: str | None = Field(default=None, min_length=1, max_length=64)
    silence_steps_s: Annotated[tuple[int, ...], NoDecode] = Field(default=STEPS_S, max_length=10)

    def __init__(self, **values: Any) -> None:
        refuse_unknown(os.environ)
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ValueError(fault(error.errors()[0])) from None

    @field_validator("silence_steps_s", mode="before")
    @classmethod
    def _listed(cls, steps: Any) -> Any:
        return [one for one in steps.split(",") if one.strip()] if isinstance(steps, str) else steps

    @field_validator("silence_steps_s")
    @classmethod
    def _rising(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if any(later <= one for one, later in zip((0, *steps), (*steps, DAY_S + 1), strict=True)):
            raise ValueError(f"must be rising seconds, from 1 to {DAY_S}")
        return steps

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()


def setting_names() -> list[str]:
    """Names of all settings as the environment has them, in alphabetical order."""
    return sorted(PREFIX + name.upper() for name in Settings.model_fields)


def refuse_unknown(environment: Mapping[str, str]) -> None:
    """Refuse a name with our prefix that is no setting: a misspelt setting would be ignored in silence otherwise.

    Raises
    ------
    ValueError
        With the first unknown name and the known ones.

    Examples
    --------
    >>> refuse_unknown({"ATTUNE_HOME": "/srv/attune", "ATTUNE_TEST_DATA": "x", "PATH": "/bin"})
    """
    known = setting_names()
    for name in sorted(environment):
        if name.startswith(PREFIX) and not name.startswith(TEST_PREFIX) and name not in known:
            raise ValueError(f"{name} is not a setting of Attune; known are {', '.join(known)}")


def fault(found: Mapping[str, Any]) -> str:
    """One line about a setting whose value was refused, without the value.

    Parameters
    ----------
    found
        With ``loc`` and ``msg``, as a validation library lists what it found.

    Examples
    --------
    >>> fault({"loc": ("port",), "msg": "Input should be less than 65536"})
    'ATTUNE_PORT: Input should be less than 65536'
    """
    return f"{PREFIX}{str(found['loc'][0]).upper()}: {found['msg']}"


def prepare(home: Path) -> Path:
    """Make the home folder and point Prefect and BentoML into it.

    Returns
    -------
    The home as an absolute path.
    """
    home = home.expanduser().absolute()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ["BENTOML_HOME"] = str(home / layout.BENTOML)
    os.environ["PREFECT_HOME"] = str(home / layout.PREFECT)
    return home
