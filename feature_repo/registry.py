"""Feast's file registry, written so that a reader or a kill -9 never meets half a file.

Feast opens the registry for writing in place: whoever reads it at that moment, or after a crash there, cannot parse it. This
store writes beside it and renames.
"""

import os
from pathlib import Path
from typing import Any

from feast.infra.registry.file import FileRegistryStore
from feast.repo_config import RegistryConfig


class AtomicRegistryStore(FileRegistryStore):
    """A `FileRegistryStore` whose file is always whole."""

    def __init__(self, registry_config: RegistryConfig, repo_path: Path) -> None:
        super().__init__(registry_config, repo_path)
        self._final: Path = self._filepath

    def _write_registry(self, registry_proto: Any) -> None:
        draft = self._final.with_name(f"{self._final.name}.{os.getpid()}.draft")
        self._filepath = draft
        try:
            super()._write_registry(registry_proto)
        finally:
            self._filepath = self._final
        draft.replace(self._final)
