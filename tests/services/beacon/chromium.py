"""Chromium for tests: where there is none they are left out by name, or fail if the environment says that it is required."""

import os
from pathlib import Path

import pytest

from benchmarks import chromium


class Browser(chromium.Browser):
    """Browser with one tab, for a test."""

    def __init__(self, profile: Path, *flags: str) -> None:
        if chromium.command() is None:
            said = f"{chromium.INSTALL}; until then nothing was tried in a browser"
            if os.environ.get("ATTUNE_TEST_BROWSERS") == "required":
                pytest.fail(said)
            pytest.skip(said)
        super().__init__(profile, *flags)
