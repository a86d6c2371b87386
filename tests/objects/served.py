"""An S3 server of one's own, and the environment that leads to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.objects.blocks import blocks
from tests.objects.s3 import KEY, S3, SECRET, serving


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """Serve an empty bucket; requests are tried again at once."""
    pytest.importorskip("obstore", reason="the extra s3 is not installed")
    with serving() as server:
        for name, value in (
            ("AWS_ENDPOINT_URL", server.endpoint),
            ("AWS_ACCESS_KEY_ID", KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_REGION", "us-east-1"),
            ("DEJAVU_OBJECT_PAUSE_SECONDS", "0.001"),
            ("DEJAVU_OBJECT_TRIES", "3"),
        ):
            monkeypatch.setenv(name, value)
        blocks.cache_clear()
        yield server


@pytest.fixture(scope="session")
def street_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of six seconds with six groups of pictures, about 300 KB."""
    from tests.objects.clips import write_clip

    return write_clip(tmp_path_factory.mktemp("clips") / "street.mp4")
