"""What `-v` and `-vv` write to standard error."""

import logging
from collections.abc import Iterator

import pytest

from airgap import __version__
from airgap.cli.logs import start_logging


@pytest.fixture(autouse=True)
def _loggers() -> Iterator[None]:
    """Put the loggers back as they were."""
    loggers = [logging.getLogger(), logging.getLogger("airgap")]
    before = [(logger, list(logger.handlers), logger.level) for logger in loggers]
    yield
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)


def test_once_is_what_airgap_does(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(1)
    logging.getLogger("airgap.endpoints.registry").info("asked %s", "ghcr.io")
    logging.getLogger("airgap.endpoints.registry").debug("a detail")
    logging.getLogger("urllib3").error("of a library")
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert f"INFO airgap.cli.logs: airgap {__version__}, Python " in first
    assert second.endswith(" INFO airgap.endpoints.registry: asked ghcr.io")


def test_twice_is_also_details_and_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(2)
    logging.getLogger("airgap.endpoints.registry").debug("a detail")
    logging.getLogger("urllib3.connectionpool").debug("of a library")
    err = capsys.readouterr().err
    assert "DEBUG airgap.endpoints.registry: a detail\n" in err
    assert "DEBUG urllib3.connectionpool: of a library\n" in err


def test_no_login_and_no_control_character_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(2)
    logging.getLogger("urllib3").debug('GET "%s"', "https://user:hunter2@host/v2/?token=hunter2\x1b[2J")
    logging.getLogger("airgap").error("failed", exc_info=ValueError("https://user:hunter2@host"))
    err = capsys.readouterr().err
    assert "ValueError: https://user:***@host" in err
    assert "hunter2" not in err
    assert "\x1b" not in err
