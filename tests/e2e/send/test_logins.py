"""Host keys and logins of `airgap send`, judged by real OpenSSH servers."""

import os
import re
import signal
from pathlib import Path

import pytest

from tests.e2e.send.world import FAR, World, host
from tests.support.parts import require_tool, run
from tests.support.sshd import Sshd, make_key

# -- host keys


def test_an_unknown_host_key_is_refused_with_the_command_that_stores_it(world: World, tmp_path: Path) -> None:
    far = world.sshd()
    world.known.write_text("")
    answer = world.send(far.address, code=20)
    printed = run(require_tool("ssh-keygen"), "-lf", far.key.with_suffix(".pub")).stdout.decode().split()[1]
    assert f"unknown host key: [127.0.0.1]:{far.port}, got ssh-ed25519 {printed}" in answer.err
    command = re.search(r"if it is the same: `(.*) >> (.*)`", answer.err)
    scanned = run(*command[1].split()).stdout  # as the hint says
    Path(command[2]).write_bytes(scanned)
    assert host(world.send(far.address))["state"] == "sent"
    assert world.ended()[0]["exit_code"] == 20


def test_a_changed_host_key_is_refused(world: World) -> None:
    far = world.sshd()
    other = make_key(world.folder / "other_host_key")
    world.known.write_text(
        far.known_line.replace(
            far.key.with_suffix(".pub").read_text().split()[1],
            other.with_suffix(".pub").read_text().split()[1],
        )
    )
    answer = world.send(far.address, code=20)
    assert f"changed host key: [127.0.0.1]:{far.port}, want ssh-ed25519 SHA256:" in answer.err
    command = re.search(r"remove the old one with `(.*)` and add", answer.err)[1]
    run(*command.replace("'", "").split())
    assert "unknown host key" in world.send(far.address, code=20).err


def test_the_command_that_stores_the_key_of_an_alias_works(world: World) -> None:
    far = world.sshd()
    world.known.write_text("")
    config = world.folder / "config"
    config.write_text(
        f"Host far\n HostName 127.0.0.1\n Port {far.port}\n User root\n HostKeyAlias Seven\n"
        f" UserKnownHostsFile {world.known}\n IdentityFile {world.key}\n"
    )
    answer = world.side("send", world.gap.bundle, "far", "--ssh-config", config, code=20)
    assert "unknown host key: seven, got" in answer.err
    run("sh", "-c", re.search(r"if it is the same: `(.*)`", answer.err)[1])
    assert world.known.read_text().startswith("seven ssh-ed25519 ")
    assert host(world.side("send", world.gap.bundle, "far", "--ssh-config", config))["state"] == "sent"


def test_settings_cannot_weaken_the_check_of_host_keys(world: World) -> None:
    far = world.sshd()
    config = world.folder / "config"
    config.write_text(
        f"Host far\n HostName 127.0.0.1\n Port {far.port}\n User root\n StrictHostKeyChecking no\n"
        f" UserKnownHostsFile /dev/null\n IdentityFile {world.key}\n"
    )
    answer = world.side("send", world.gap.bundle, "far", "--ssh-config", config, code=20)
    assert "unknown host key" in answer.err
    config.write_text(config.read_text().replace("/dev/null", str(world.known)))
    assert host(world.side("send", world.gap.bundle, "far", "--ssh-config", config))["state"] == "sent"


def test_a_known_key_of_another_kind_is_asked_for(world: World) -> None:
    """The server would rather show its Ed25519 key; known is only its ECDSA key."""
    ecdsa = make_key(world.folder / "ecdsa", "ecdsa")
    far = world.sshd("far", f"HostKey {ecdsa}")
    kind, blob, *_ = ecdsa.with_suffix(".pub").read_text().split()
    world.known.write_text(f"[127.0.0.1]:{far.port} {kind} {blob}\n")
    assert host(world.send(far.address))["state"] == "sent"


# -- logins


def test_a_key_that_the_host_does_not_take_is_named(world: World) -> None:
    far = world.sshd()
    stranger = make_key(world.folder / "stranger")
    answer = world.side("send", world.gap.bundle, far.address, *world.options_with(stranger), code=20)
    assert (
        f"login failed: {far.address}, want a key that the server accepts, got refused: {stranger}"
        in answer.err
    )


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_an_encrypted_key_file_is_opened_with_its_passphrase_only(world: World, kind: str) -> None:
    key = make_key(world.folder / "locked", kind, passphrase="open sesame")
    far = world.stack.enter_context(Sshd(world.folder / "far", key))
    world.known.write_text(far.known_line)
    (world.folder / "phrase").write_text("open sesame\n")
    options = world.options_with(key)
    sent = world.side(
        "send", world.gap.bundle, far.address, *options, "--passphrase-file", world.folder / "phrase"
    )
    assert host(sent)["state"] == "sent"
    (world.folder / "phrase").write_text("wrong\n")
    answer = world.side(
        "send", world.gap.bundle, far.address, *options, "--passphrase-file", world.folder / "phrase", code=13
    )
    assert f"the SSH key cannot be opened: {key}" in answer.err


@pytest.mark.usefixtures("agent")
def test_a_key_of_the_agent_logs_in(world: World) -> None:
    far = world.sshd()
    run(require_tool("ssh-add"), "-q", world.key)
    world.key.unlink()  # only the agent has it now
    options = world.options_with()
    assert host(world.side("send", world.gap.bundle, far.address, *options))["state"] == "sent"
    public = world.key.with_suffix(".pub")
    for named in (world.key, public):  # the public half, which is still there, says which
        again = world.side("send", world.gap.bundle, far.address, *options, "--identity", named)
        assert host(again)["state"] == "already there"


@pytest.mark.usefixtures("agent")
def test_a_named_key_is_offered_before_the_many_keys_of_an_agent(world: World) -> None:
    far = world.sshd("far", "MaxAuthTries 3")
    strangers = [make_key(world.folder / f"stranger{i}") for i in range(4)]
    run(require_tool("ssh-add"), "-q", *strangers, world.key)
    options = world.options_with()
    answer = world.side("send", world.gap.bundle, far.address, *options, code=20)
    assert "got the server closed the connection after 3 keys: Too many authentication failures" in answer.err
    assert "with --identity FILE: it is offered first" in answer.err
    named = world.side("send", world.gap.bundle, far.address, *options, "--identity", world.key)
    assert host(named)["state"] == "sent"


@pytest.mark.usefixtures("agent")
def test_the_next_key_is_tried_when_the_agent_does_not_sign_with_one(world: World) -> None:
    """Nobody is there to confirm the use of the first; the server goes on with the second."""
    far = world.sshd()
    with world.key.with_suffix(".pub").open("a") as file:
        locked = make_key(world.folder / "locked")
        file.write(locked.with_suffix(".pub").read_text())
    run(require_tool("ssh-add"), "-q", "-c", locked)
    options = world.options_with()
    answer = world.side("send", world.gap.bundle, far.address, *options, code=20)
    assert f"not signed by the ssh-agent: {locked} (agent): key cannot be used for signing" in answer.err
    run(require_tool("ssh-add"), "-q", world.key)
    assert host(world.side("send", world.gap.bundle, far.address, *options))["state"] == "sent"


def test_an_agent_that_does_not_answer_is_named(world: World, agent: int) -> None:
    far = world.sshd()
    run(require_tool("ssh-add"), "-q", world.key)
    os.kill(agent, signal.SIGKILL)
    options = world.options_with()
    answer = world.side("send", world.gap.bundle, far.address, *options, code=20)
    assert f"got the ssh-agent: cannot be reached at {world.folder}/agent: Connection refused" in answer.err
    assert host(world.send(far.address))["state"] == "sent"


def test_proxy_jump_leads_through_hosts_that_each_show_a_known_key(world: World) -> None:
    outer, inner, far = world.sshd("outer"), world.sshd("inner"), world.sshd("far")
    config = world.folder / "config"
    config.write_text(
        f"Host *\n IdentityFile {world.key}\n UserKnownHostsFile {world.known}\n User root\n"
        f"Host outer\n HostName 127.0.0.1\n Port {outer.port}\n"
        f"Host inner\n HostName 127.0.0.1\n Port {inner.port}\n ProxyJump outer\n"
        f"Host far\n HostName 127.0.0.1\n Port {far.port}\n ProxyJump inner\n"
    )
    assert host(world.side("send", world.gap.bundle, "far", "--ssh-config", config))["state"] == "sent"
    assert world.arrived(far)
    for server in (outer, inner):
        assert "Accepted publickey" in server.log()
        assert not (server.home / FAR).exists()
    known = world.known.read_text()
    world.known.write_text(known.replace(inner.known_line, ""))
    answer = world.side("send", world.gap.bundle, "far", "--ssh-config", config, code=20)
    assert f"unknown host key: [127.0.0.1]:{inner.port}" in answer.err
    command = f"`ssh -J root@127.0.0.1:{outer.port} -o UserKnownHostsFile={world.known} "
    assert command in answer.err
