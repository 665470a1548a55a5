"""`airgap send` to hosts of other kinds, and to many at a time."""

from pathlib import Path

import pytest

from tests.e2e.send.world import FAR, World, host, put_program, with_begin
from tests.support.sshd import free_port, make_key


def test_a_host_with_sftp_only_is_proved_by_reading_back(world: World) -> None:
    far = world.sshd()
    only = world.sshd("only", f"ForceCommand internal-sftp -d {world.folder}/only/home")
    found = host(world.send(only.address))
    assert (found["state"], found["proved_by"]) == ("sent", "reading back")
    assert world.arrived(only)
    assert host(world.send(only.address))["state"] == "already there"
    largest = max((only.home / FAR / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    raw = largest.read_bytes()
    largest.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    assert host(world.send(only.address))["files_sent"] == 2
    assert world.arrived(only)
    assert "airgap is not installed on the host" in world.send(far.address, "--load", "oci:/x", code=20).err


def test_a_server_with_few_sessions_is_enough(world: World) -> None:
    """Files take one session; commands have another one at a time, or none."""
    two = world.sshd("two", "MaxSessions 2")
    found = host(world.send(two.address))
    assert (found["proved_by"], world.arrived(two)) == ("openssl", True)
    one = world.sshd("one", "MaxSessions 1")
    found = host(world.send(one.address))
    assert (found["proved_by"], world.arrived(one)) == ("reading back", True)


@pytest.mark.parametrize(
    ("tool", "proved"),
    [
        ("exit 1", "sha256sum"),
        ("exit 127", "sha256sum"),
        ("cat /dev/zero | head -c 1000", "sha256sum"),
        ('for x; do echo "junk"; done', "sha256sum"),
    ],
)
def test_programs_that_are_not_what_they_are_called_prove_nothing(
    world: World, tool: str, proved: str
) -> None:
    far = world.sshd()
    put_program(far, "openssl", tool)
    assert host(world.send(far.address))["proved_by"] == proved
    assert world.arrived(far)
    put_program(far, "sha256sum", tool)
    again = host(world.send(far.address))
    assert (again["state"], again["proved_by"]) == ("already there", "reading back")


def test_a_program_that_writes_without_end_is_stopped(world: World) -> None:
    far = world.sshd()
    put_program(far, "openssl", "exec yes")
    assert "the answer is too long" in world.send(far.address, code=20).err


def test_hostile_names_reach_no_shell(world: World) -> None:
    far = world.sshd()
    folder = "a b'c\"d;touch HACKED;$(touch HACKED)`touch HACKED`&|*"
    found = host(world.send(far.address, "--to", folder))
    assert found["proved_by"] == "openssl"
    assert world.arrived(far, f"{folder}/edge-0001")
    assert list(far.folder.rglob("HACKED")) == []
    assert not Path("/root/HACKED").exists()


# -- many hosts


def test_of_twenty_hosts_only_the_unreachable_one_fails(world: World) -> None:
    shared = make_key(world.folder / "shared_host_key")
    servers = [world.sshd(f"far{i}", host_key=shared) for i in range(19)]
    inventory = world.folder / "hosts.yaml"
    dead = f"root@127.0.0.1:{free_port()}"
    lines = "".join(f"  - {server.address}\n" for server in servers[1:])
    inventory.write_text(f"version: 1\nto: kept/here\nhosts:\n  - {dead}\n{lines}")
    answer = world.send(servers[0].address, "--inventory", inventory, "--to", "kept/here", code=3)
    states = {found["host"]: found["state"] for found in answer.json["hosts"]}
    assert len(states) == 20
    assert states.pop(dead) == "failed"
    assert set(states.values()) == {"sent"}
    assert all(world.arrived(server, "kept/here/edge-0001") for server in servers)
    assert f"failed: {dead}: cannot connect" in answer.err
    assert "error: some hosts failed, got 1 of 20" in answer.err
    assert list(answer.json["error"]["failures"]) == [dead]
    results = [(end["target"], end["result"]) for end in with_begin(world)]
    assert len(results) == 20
    assert (dead, "failed") in results


def test_hosts_that_all_fail_alike_end_with_their_own_exit_code(world: World) -> None:
    first, second = world.sshd("a"), world.sshd("b")
    world.known.write_text("")
    answer = world.send(first.address, second.address, code=20)
    assert answer.json["error"]["kind"] == "TransportError"
