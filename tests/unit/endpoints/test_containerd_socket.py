import pytest

from airgap.endpoints.containerd.ctr import PROGRAMS, SOCKETS, find_program, find_socket
from airgap.errors import UnavailableError, UsageError

PLAIN, K3S, K0S, MICROK8S, _ = SOCKETS


@pytest.mark.parametrize(
    ("address", "there", "found"),
    [
        (None, [PLAIN], PLAIN),
        (None, [K3S], K3S),
        (None, [K0S], K0S),
        (None, [MICROK8S], MICROK8S),
        ("/x/c.sock", [PLAIN, K3S], "/x/c.sock"),
        ("unix:///x/c.sock", [], "/x/c.sock"),
        ("", [PLAIN], PLAIN),
    ],
)
def test_the_socket(address: str | None, there: list[str], found: str):
    environ = {} if address is None else {"CONTAINERD_ADDRESS": address}
    assert find_socket(environ, there.__contains__) == found


def test_two_sockets_are_one_too_many():
    with pytest.raises(
        UsageError, match="more than one containerd found here, want CONTAINERD_ADDRESS=SOCKET"
    ) as caught:
        find_socket({}, [PLAIN, K3S].__contains__)
    assert caught.value.got == f"{PLAIN}, {K3S}"


def test_no_socket():
    with pytest.raises(UnavailableError, match="no containerd found here") as caught:
        find_socket({}, [].__contains__)
    assert "CONTAINERD_ADDRESS" in caught.value.hint


@pytest.mark.parametrize(("there", "found"), [(PROGRAMS[i][0], PROGRAMS[i]) for i in range(len(PROGRAMS))])
def test_the_program(there: str, found: tuple[str, ...]):
    path = there if there.startswith("/") else f"/opt/{there}"
    assert find_program(lambda name: path if name == there else None) == (path, *found[1:])


def test_no_program():
    with pytest.raises(UnavailableError, match="cannot find ctr"):
        find_program(lambda _: None)
