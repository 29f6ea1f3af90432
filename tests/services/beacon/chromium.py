"""Browsers for tests: where one is missing its tests are left out by name, or fail if the environment wants them all."""

import os
from pathlib import Path

import pytest

from benchmarks import chromium


def missing(said: str) -> None:
    """Leave a test out by name, or fail it where the environment says that browsers are required."""
    if os.environ.get("ATTUNE_TEST_BROWSERS") == "required":
        pytest.fail(said)
    pytest.skip(said)


class Browser(chromium.Browser):
    """Chromium with one tab, for a test."""

    def __init__(self, profile: Path, *flags: str) -> None:
        if chromium.command() is None:
            missing(f"{chromium.INSTALL}; until then nothing was tried in a browser")
        super().__init__(profile, *flags)
