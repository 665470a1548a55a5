"""What is said of broken connections, in words of our own."""

import pytest
from requests.exceptions import ConnectionError as RequestsError
from urllib3.exceptions import IncompleteRead, MaxRetryError, ProtocolError, ReadTimeoutError

from airgap.endpoints.docker.hints import engine_hint, wire_words


def caused(outer: Exception, cause: Exception) -> Exception:
    outer.__cause__ = cause
    return outer


GONE = "the engine closed the connection before the end"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (BrokenPipeError(32, "Broken pipe"), "Broken pipe"),
        (RequestsError(ProtocolError("Connection aborted.", ConnectionResetError(104, "Connection reset by peer"))),
         "Connection reset by peer"),
        (RequestsError(ProtocolError("Connection aborted.", ConnectionResetError("Remote end closed connection"))), GONE),
        (ProtocolError("Connection broken", IncompleteRead(3, 7)), GONE),
        (caused(MaxRetryError(None, "/version"), ConnectionRefusedError(111, "Connection refused")), "Connection refused"),
        (ReadTimeoutError(None, "/x", "Read timed out."), "no answer in time"),
        (ConnectionError("docker: not found"), "docker: not found"),
    ],
)  # fmt: skip
def test_words(error: Exception, words: str) -> None:
    assert wire_words(error) == words


@pytest.mark.parametrize("words", ["", "something else", "No such image: x"])
def test_no_remedy(words: str) -> None:
    assert engine_hint(words) is None
