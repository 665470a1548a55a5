"""Programs that airgap runs, and their pipes."""

import os
import resource
import selectors
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from airgap.errors import EndpointError, UnavailableError
from airgap.programs import Program, await_pipes

FIRST_BEYOND_SELECT = 1024


@pytest.fixture
def many_open_files() -> Iterator[None]:
    """All descriptors that select(2) takes are in use, as in a server that uses the library."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * FIRST_BEYOND_SELECT:
        pytest.skip(f"this process may open {hard} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * FIRST_BEYOND_SELECT), hard))
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        while (fd := os.open("/dev/null", os.O_RDONLY)) < FIRST_BEYOND_SELECT:
            stack.callback(os.close, fd)
        stack.callback(os.close, fd)
        yield


def python(script: str, **limits: object) -> Program:
    usual = {
        "title": "the script",
        "argv": (sys.executable, "-I", "-c", script),
        "seconds": 60,
        "max_bytes": 1000,
    }
    return Program(**(usual | limits))


@pytest.mark.usefixtures("many_open_files")
def test_a_program_runs_where_many_files_are_open() -> None:
    done = python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)").run()
    assert (done.output, done.complaint, done.code) == (b"out\n", b"err\n", 3)


@pytest.mark.usefixtures("many_open_files")
def test_a_pipe_that_is_full_and_one_that_is_empty_are_awaited_in_vain() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as source, os.fdopen(writing, "wb", buffering=0) as sink:
        assert await_pipes([source], selectors.EVENT_READ, 0) == []
        assert await_pipes([sink], selectors.EVENT_WRITE, 0) == [sink]
        os.set_blocking(writing, False)
        while sink.write(bytes(1 << 16)) is not None:
            pass
        assert await_pipes([sink], selectors.EVENT_WRITE, 0) == []
        assert await_pipes([source], selectors.EVENT_READ, -1) == [source]


def test_a_program_that_does_not_end() -> None:
    with pytest.raises(UnavailableError, match="the script does not end"):
        python("import time; time.sleep(600)", seconds=0.1).run()


def test_a_program_that_says_too_much() -> None:
    with pytest.raises(EndpointError, match="the output of the script is too large"):
        python("print('x' * 2000)").run()
