from pathlib import Path

import pytest

from airgap.bundle.store import BlobStore


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "bundle")
