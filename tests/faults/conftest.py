"""Thousands of small folders are made here, in memory where the machine has such a place."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")


@pytest.fixture
def base(tmp_path):
    """A folder for many others."""
    if not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK)):
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(prefix="mailserver-faults-", dir=MEMORY))
    yield made
    shutil.rmtree(made)
