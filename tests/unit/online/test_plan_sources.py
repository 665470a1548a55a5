import pytest

from airgap.errors import DigestMismatchError, EndpointError, FormatError, MediaError, UnsignedError
from airgap.online.plan import Failures, sort_out

MINE = {
    "a": EndpointError("a"),
    "b": FormatError("b"),
    "c": DigestMismatchError("c"),
    "d": UnsignedError("d"),
}


def test_errors_of_one_image_are_put_aside():
    failures: Failures = {"z": FormatError("before")}
    sort_out(dict(MINE), failures)
    assert list(failures) == ["z", *MINE]
    sort_out({}, None)


@pytest.mark.parametrize("error", MINE.values())
def test_they_are_raised_without_a_collection(error):
    with pytest.raises(type(error)) as raised:
        sort_out({"a": error, "b": FormatError("later")}, None)
    assert raised.value is error


def test_what_concerns_all_is_raised():
    failures: Failures = {}
    with pytest.raises(MediaError):
        sort_out({"a": FormatError("a"), "b": MediaError("b")}, failures)
