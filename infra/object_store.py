"""Object storage that speaks S3's protocol, or a folder: where artifacts and the log's archive lie for all machines.

``ATTUNE_OBJECTS_URL`` names bucket and prefix, the same ones for every process; without it there is none, and artifacts are in
the home alone. Credentials, region and address are the usual ``AWS_…`` names of the environment: no setting of ours holds them.
An artifact's name is the path relative to the home, so a home and a bucket hold the same tree. No artifact is ever removed from
the bucket: what a killed training left there has no row and costs room only. Files of the archive are (`infra.archive`).
"""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from infra import artifacts, layout
from models.artifact import Golden, Parts

URL: Final = "ATTUNE_OBJECTS_URL"  # `infra.settings.Settings.objects_url`
ADDRESS: Final = "AWS_ENDPOINT_URL"
_TRIES: Final = 4  # of each request; a pause between them grows to half a second
_CONNECT_S: Final = 2.0
_REQUEST_S: Final = 20.0


class ObjectStoreUnavailable(OSError):  # noqa: N818
    """The object store does not answer, or refuses; whoever asked may ask again."""

    def __init__(self) -> None:
        super().__init__(errno.EAGAIN, f"the object store cannot be used: see {URL}, {ADDRESS} and its keys")


class ObjectStore:
    """Files of a bucket, or of a folder, below one prefix.

    Parameters
    ----------
    url
        ``s3://BUCKET/PREFIX``, or ``file:///FOLDER``.
    address
        Of the service; None for the usual one of the region.
    """

    def __init__(self, url: str, address: str | None = None) -> None:
        from pyarrow import fs  # 0.7 s, and only where there is an object store

        parsed = urlsplit(url)
        self._root, self._is_folder = (parsed.netloc + parsed.path).rstrip("/"), parsed.scheme == "file"
        with _named():
            self._files: Any = (
                fs.LocalFileSystem()
                if self._is_folder
                else fs.S3FileSystem(
                    retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_TRIES),
                    connect_timeout=_CONNECT_S,
                    request_timeout=_REQUEST_S,
                    endpoint_override=address,
                    allow_delayed_open=True,  # a file that fits into one request is one
                )
            )
        self._every: Any = fs.FileSelector

    def put(self, folder: Path, name: str) -> None:
        """Write an artifact, its sums last: where these are, all is. Durable when this returns."""
        for path in sorted(folder.iterdir(), key=lambda path: path.name == layout.SUMS_FILE):
            self.write(f"{name}/{path.name}", path.read_bytes())

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all; durable when this returns."""
        path = f"{self._root}/{name}"
        with _named():
            if self._is_folder:
                _write(Path(path), data)
                return
            with self._files.open_output_stream(path) as stream:
                stream.write(data)

    def read(self, name: str) -> bytes:
        """A file's bytes.

        Raises
        ------
        FileNotFoundError
            If there is none of this name.
        """
        with _named(), self._files.open_input_stream(f"{self._root}/{name}") as stream:
            return bytes(stream.readall())

    def remove(self, name: str) -> None:
        """Remove a file, if it is there; of a bucket, the client may leave an empty object that stands for its folder."""
        with suppress(FileNotFoundError), _named():
            self._files.delete_file(f"{self._root}/{name}")

    def get(self, name: str, folder: Path) -> None:
        """Read an artifact's files into a folder, which is made.

        Raises
        ------
        FileNotFoundError
            If there is none of this name.
        """
        with _named():
            found = self._files.get_file_info(self._every(f"{self._root}/{name}"))
            folder.mkdir(parents=True)
            for one in found:
                with self._files.open_input_stream(one.path) as stream:
                    (folder / one.base_name).write_bytes(stream.readall())

    def has(self, name: str) -> bool:
        """Whether an artifact is there, whole."""
        with _named():
            return bool(self._files.get_file_info(f"{self._root}/{name}/{layout.SUMS_FILE}").is_file)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}{artifacts.DRAFT}")
    draft.write_bytes(data)
    artifacts.sync(draft)
    draft.replace(path)
    for parent in path.parents[:3]:  # as many as may be new
        artifacts.sync(parent)


@contextmanager
def _named() -> Iterator[None]:
    """Say in one line that it is the object store: the client's own words name bucket, key and address."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "it is not in the object store") from None
    except OSError:
        raise ObjectStoreUnavailable from None


def opened() -> ObjectStore | None:
    """The object store of this installation; None where there is none."""
    url = os.environ.get(URL)
    return _opened(url, os.environ.get(ADDRESS)) if url else None


@cache
def _opened(url: str, address: str | None) -> ObjectStore:
    return ObjectStore(url, address)


def keep(home: Path, artifact: str, parts: Parts, golden: Golden | None) -> None:
    """Write an artifact into the home, and into the object store where there is one.

    Parameters
    ----------
    artifact
        Its folder, relative to the home; nothing is there yet.

    Raises
    ------
    OSError
        If one of them cannot be written.
    """
    artifacts.save(home / artifact, parts, golden)
    if store := opened():
        store.put(home / artifact, artifact)


def fetched(home: Path, artifact: str) -> Path:
    """Folder of an artifact in the home, brought there whole from the object store where it is missing.

    Raises
    ------
    ValueError
        If it came damaged.
    OSError
        If the object store does not have it, or cannot be used.
    """
    folder = home / artifact
    store = None if folder.exists() else opened()
    if store is None:
        return folder
    draft = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}{artifacts.DRAFT}")
    try:
        store.get(artifact, draft)
        artifacts.verify(draft)
        draft.rename(folder)
    except OSError:
        if not folder.exists():  # else another process of this home was first
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def publish(home: Path, names: Sequence[str]) -> int:
    """Bring a home's artifacts to the object store where they are missing there; how many."""
    store = opened()
    missing = [one for one in names if store and (home / one).is_dir() and not store.has(one)]
    for one in missing:
        assert store is not None
        store.put(home / one, one)
    return len(missing)
