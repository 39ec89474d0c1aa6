"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parent.parent

# No test depends on a clock, and the same command runs the same examples.
settings.register_profile("carrysave", deadline=None, derandomize=True)
settings.load_profile("carrysave")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real data sets and libraries: $CARRYSAVE_DATA, or shared/data beside the repository."""
    named = os.environ.get("CARRYSAVE_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        where = "$CARRYSAVE_DATA" if named else "CARRYSAVE_DATA is not set, and the default"
        pytest.skip(f"needs the real data sets: {where} {folder} is not a folder")
    return folder
