"""Where the features lie: opens the Feast store of a home, for the flows that write it and the services that read it."""

import time
from collections.abc import Collection
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Final, Literal

from infra.layout import FEAST
from models.events.touches import History, parse
from models.schema import RECENT_ITEMS_VIEW, USER_RECENT_EVENTS, VIEW_KEY

if TYPE_CHECKING:  # Feast takes seconds to import
    from feast import FeatureStore

Profile = Literal["embedded", "scale"]
_CONFIG: Final = {"embedded": "feature_store.yaml", "scale": "scale/feature_store.yaml"}
VIEW_S: Final = 10.0  # until a view's declaration is asked for again
DEFAULT_REDIS_URL: Final = "redis://127.0.0.1:6379"


def open_store(
    home: Path,
    profile: Profile = "embedded",
    *,
    redis_url: str | None = None,
    postgres_url: str | None = None,
    project: str | None = None,
) -> "FeatureStore":
    """Open the feature store of a home. Takes seconds the first time in a process (Feast's import); keep the result.

    Parameters
    ----------
    home
        ``ATTUNE_HOME``; its ``feast`` folder is made if missing.
    profile
        ``embedded`` (SQLite and a registry file below the home) or ``scale`` (Redis, registry in SQL).
    redis_url
        ``redis://[:password@]host:port[/number]`` or ``rediss://…``, scale only; a Redis on this machine by default.
    postgres_url
        Where the scale profile keeps the registry; a SQLite file below the home by default.
    project
        Another project name than the file's: keeps tests apart that share a Redis.

    Raises
    ------
    ValueError
        If the Redis URL cannot be read.
    """
    import yaml  # type: ignore[import-untyped]
    from feast import FeatureStore
    from feast.repo_config import RepoConfig

    folder = home.expanduser().absolute() / FEAST
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "ATTUNE_HOME": str(folder.parent),
        "ATTUNE_REDIS": _connection_string(redis_url or DEFAULT_REDIS_URL) if profile == "scale" else "",
        "ATTUNE_REGISTRY_URL": _registry_url(postgres_url, folder),
    }
    config = yaml.safe_load((Path(__file__).parent / _CONFIG[profile]).read_text(encoding="utf-8"))
    filled = _filled(config, values)
    if project is not None:
        filled["project"] = project
    return FeatureStore(config=RepoConfig(**filled, repo_path=folder.parent))


def _filled(part: Any, values: dict[str, str]) -> Any:
    # After parsing, so that a folder or password with YAML's special characters stays what it is.
    if isinstance(part, dict):
        return {name: _filled(value, values) for name, value in part.items()}
    return Template(part).substitute(values) if isinstance(part, str) else part


def _registry_url(postgres_url: str | None, folder: Path) -> str:
    if postgres_url is None:
        return f"sqlite:///{folder / 'registry.sql.db'}"
    return f"postgresql+psycopg://{postgres_url.split('://', 1)[-1]}"


def _connection_string(redis_url: str) -> str:
    """Turn a URL into Feast's form.

    Examples
    --------
    >>> _connection_string("redis://:word@cache:6380/2")
    'cache:6380,db=2,password=word'
    """
    from urllib.parse import unquote, urlsplit

    url = urlsplit(redis_url)
    if url.scheme not in ("redis", "rediss") or not url.hostname:
        raise ValueError("the Redis URL must look like redis://[:password@]host:port[/number]")
    parts = [f"{url.hostname}:{url.port or 6379}", f"db={url.path.strip('/') or '0'}"]
    if url.username:
        parts.append(f"username={unquote(url.username)}")
    if url.password:
        parts.append(f"password={unquote(url.password)}")
    if url.scheme == "rediss":
        parts.append("ssl=true")
    return ",".join(parts)


class RowReader:
    """Reader of one entity's values through Feast's online store, whichever it is.

    Feast makes a view's object anew from its registry at every read; here it is kept for `VIEW_S`.

    Parameters
    ----------
    store
        Whose online store is read.
    """

    def __init__(self, store: "FeatureStore") -> None:
        from feast.protos.feast.types.EntityKey_pb2 import EntityKey
        from feast.protos.feast.types.Value_pb2 import Value

        self._store, self._entity, self._value = store, EntityKey, Value
        self._views: dict[str, tuple[Any, float]] = {}

    def read(self, view: str, key: str, names: Collection[str]) -> tuple[dict[str, Any], int]:
        """The values of one entity by name, and the second that they stand at (0: not found).

        What the entity does not have is left out; a list of texts comes as one.
        """
        keys = [self._entity(join_keys=[VIEW_KEY[view]], entity_values=[self._value(string_val=key)])]
        ((at, row),) = self._store._get_provider().online_read(self._store.config, self._view(view), keys, list(names))
        found = {name: getattr(value, kind) for name, value in (row or {}).items() if (kind := value.WhichOneof("val"))}
        values = {name: list(value.val) if hasattr(value, "val") else value for name, value in found.items() if name in names}
        return values, 0 if at is None else int(at.timestamp())

    def history(self, user_id: str) -> History | None:
        """The history of a user on items; None where there is none."""
        row, _ = self.read(RECENT_ITEMS_VIEW, user_id, (USER_RECENT_EVENTS,))
        touches = row.get(USER_RECENT_EVENTS)
        return parse(touches) if touches else None

    def _view(self, name: str) -> Any:
        view, until_s = self._views.get(name, (None, 0.0))
        if time.monotonic() >= until_s:
            view = self._store.get_feature_view(name, allow_registry_cache=True)
            self._views[name] = (view, time.monotonic() + VIEW_S)
        return view
