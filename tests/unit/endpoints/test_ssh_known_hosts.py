"""Files of known hosts: which key is good, and what is said when none is."""

import base64
import hashlib
import hmac

import pytest

from airgap.endpoints.ssh.known_hosts import KnownHosts, SshRoute, fingerprint, known_name
from airgap.errors import TransportError

ONE, TWO = b"first key", b"second key"
HOST = "plant.example"
ROUTE = SshRoute(HOST, 22, "carrier")


def text(blob: bytes) -> str:
    return base64.b64encode(blob).decode()


def hashed(name: str, salt: bytes = b"0123456789abcdefghij") -> str:
    return f"|1|{text(salt)}|{text(hmac.new(salt, name.encode(), hashlib.sha1).digest())}"


def known(tmp_path, *lines: str) -> KnownHosts:
    path = tmp_path / "known_hosts"
    path.write_text("\n".join(lines) + "\n")
    return KnownHosts.load([path])


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (HOST, HOST),
        (f"other,{HOST},10.0.0.1", HOST),
        (f"other,{HOST},10.0.0.1", "10.0.0.1"),
        ("PLANT.example", HOST),
        ("*.example", HOST),
        ("plant.exampl?", HOST),
        (f"*.example,!x.{HOST}", HOST),
        ("[plant.example]:2222", "[plant.example]:2222"),
        ("[*.example]:2222", "[plant.example]:2222"),
        (hashed(HOST), HOST),
        (hashed("[::1]:2222"), "[::1]:2222"),
    ],
)
def test_a_host_that_is_listed_is_accepted(tmp_path, names, name):
    known(tmp_path, "# comment", "", f"{names} ssh-ed25519 {text(ONE)} a comment").check(
        name, "ssh-ed25519", ONE, ROUTE
    )


@pytest.mark.parametrize(
    "line",
    [
        "",
        f"# {HOST} ssh-ed25519 {text(ONE)}",
        f"other ssh-ed25519 {text(ONE)}",
        f"x{HOST} ssh-ed25519 {text(ONE)}",
        f"[{HOST}]:2222 ssh-ed25519 {text(ONE)}",
        f"*.example,!{HOST} ssh-ed25519 {text(ONE)}",
        f"!{HOST},*.example ssh-ed25519 {text(ONE)}",
        f"[p]lant.example ssh-ed25519 {text(ONE)}",
        f"{HOST} ssh-ed25519",
        f"{HOST} ssh-ed25519 not!base64",
        f"{HOST} ssh-ed25519 ====",
        f"@cert-authority {HOST} ssh-ed25519 {text(ONE)}",
        f"@unknown {HOST} ssh-ed25519 {text(ONE)}",
        f"{hashed('other')} ssh-ed25519 {text(ONE)}",
        f"|1|{text(b'salt')}| ssh-ed25519 {text(ONE)}",
        f"|2|a|b ssh-ed25519 {text(ONE)}",
        f"|1|!|! ssh-ed25519 {text(ONE)}",
    ],
)
def test_unknown(tmp_path, line):
    with pytest.raises(TransportError, match=f"unknown host key: {HOST}, got ssh-ed25519 SHA256:") as caught:
        known(tmp_path, line).check(HOST, "ssh-ed25519", ONE, ROUTE)
    assert f"`ssh-keyscan -t ed25519 {HOST} >> {tmp_path}/known_hosts`" in caught.value.hint


@pytest.mark.parametrize(("kind", "scan"), [("ecdsa-sha2-nistp256", "ecdsa"), ("ssh-rsa", "rsa")])
def test_the_command_names_port_and_kind(tmp_path, kind, scan):
    with pytest.raises(TransportError) as caught:
        known(tmp_path).check("[10.0.0.1]:2222", kind, ONE, SshRoute("10.0.0.1", 2222, "carrier"))
    assert f"`ssh-keyscan -p 2222 -t {scan} 10.0.0.1 >> " in caught.value.hint


def test_changed(tmp_path):
    hosts = known(tmp_path, "# first", f"{HOST} ssh-ed25519 {text(ONE)}")
    with pytest.raises(TransportError) as caught:
        hosts.check(HOST, "ssh-ed25519", TWO, ROUTE)
    line = f"{tmp_path}/known_hosts:2"
    assert str(caught.value) == (
        f"changed host key: {HOST}, want ssh-ed25519 {fingerprint(ONE)} ({line}), got ssh-ed25519 {fingerprint(TWO)}"
    )
    assert f"`ssh-keygen -R {HOST} -f {tmp_path}/known_hosts`" in caught.value.hint


def test_a_second_key_is_as_good(tmp_path):
    hosts = known(tmp_path, f"{HOST} ssh-ed25519 {text(ONE)}", f"{HOST} ssh-rsa {text(TWO)}")
    hosts.check(HOST, "ssh-rsa", TWO, ROUTE)
    assert hosts.algorithms(HOST) == ("ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256")
    assert hosts.algorithms("other") == ()


@pytest.mark.parametrize("names", [HOST, "*", hashed(HOST)])
def test_revoked_wins(tmp_path, names):
    hosts = known(tmp_path, f"{HOST} ssh-ed25519 {text(ONE)}", f"@revoked {names} ssh-ed25519 {text(ONE)}")
    with pytest.raises(TransportError, match="revoked host key: plant"):
        hosts.check(HOST, "ssh-ed25519", ONE, ROUTE)


def test_a_revoked_key_is_not_a_known_one(tmp_path):
    hosts = known(tmp_path, f"@revoked {HOST} ssh-ed25519 {text(ONE)}")
    assert hosts.algorithms(HOST) == ()
    with pytest.raises(TransportError, match="unknown host key"):
        hosts.check(HOST, "ssh-ed25519", TWO, ROUTE)


def test_files_that_are_not_there(tmp_path):
    (tmp_path / "file").write_text("")
    assert KnownHosts.load([tmp_path / "none", tmp_path / "file" / "below"]).keys == ()


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(TransportError, match="cannot read the known hosts"):
        KnownHosts.load([tmp_path])


def test_lines_that_are_not_text_are_skipped(tmp_path):
    path = tmp_path / "known_hosts"
    path.write_bytes(b"\xff\xfe\x00\n" + f"{HOST} ssh-ed25519 {text(ONE)}\n".encode())
    KnownHosts.load([path]).check(HOST, "ssh-ed25519", ONE, ROUTE)


@pytest.mark.parametrize(
    ("host", "port", "want"),
    [
        ("Plant", 22, "plant"),
        ("plant", 2222, "[plant]:2222"),
        ("::1", 2222, "[::1]:2222"),
        ("::1", 22, "::1"),
    ],
)
def test_names(host, port, want):
    assert known_name(host, port) == want


def test_fingerprints_are_those_of_openssh():
    assert fingerprint(b"") == "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"


@pytest.mark.parametrize("blob", [ONE, TWO])
def test_an_authority_is_not_a_host(tmp_path, blob):
    line = f"@cert-authority *.example ssh-ed25519 {text(ONE)}"
    hosts = known(tmp_path, line)
    assert hosts.algorithms(HOST) == ()
    want = (
        rf"unknown host key: .* \({tmp_path}/known_hosts:1 names a certificate authority: host certificates"
    )
    with pytest.raises(TransportError, match=want):
        hosts.check(HOST, "ssh-ed25519", blob, ROUTE)
    with pytest.raises(
        TransportError, match=r"changed host key: .*known_hosts:1 names a certificate authority"
    ):
        known(tmp_path, line, f"{HOST} ssh-ed25519 {text(b'own')}").check(HOST, "ssh-ed25519", blob, ROUTE)
    known(tmp_path, line, f"{HOST} ssh-ed25519 {text(blob)}").check(HOST, "ssh-ed25519", blob, ROUTE)


def test_the_line_that_revokes_is_named(tmp_path):
    good = f"{HOST} ssh-ed25519 {text(ONE)}"
    hosts = known(tmp_path, good, f"@cert-authority {good}", f"@revoked * ssh-ed25519 {text(ONE)}")
    with pytest.raises(TransportError, match=r"revoked by .*known_hosts:3$"):
        hosts.check(HOST, "ssh-ed25519", ONE, ROUTE)


def test_the_command_for_an_alias(tmp_path):
    with pytest.raises(TransportError, match="unknown host key: seven, got") as caught:
        known(tmp_path).check("seven", "ssh-ed25519", ONE, SshRoute("10.0.0.1", 2222, "carrier"))
    command = "`ssh-keyscan -p 2222 -t ed25519 10.0.0.1 | awk '{$1 = \"seven\"; print}' >> "
    assert command in caught.value.hint


def test_the_command_behind_jumps(tmp_path):
    route = SshRoute("10.0.0.1", 2222, "carrier", ("u@one:22", "v@two:23"))
    with pytest.raises(TransportError) as caught:
        known(tmp_path).check("[10.0.0.1]:2222", "ssh-ed25519", ONE, route)
    options = f"-o UserKnownHostsFile={tmp_path}/known_hosts -o StrictHostKeyChecking=ask"
    command = f"`ssh -J u@one:22,v@two:23 {options} -p 2222 carrier@10.0.0.1 exit`"
    assert command in caught.value.hint
    with pytest.raises(TransportError) as caught:
        known(tmp_path).check("seven", "ssh-ed25519", ONE, route)
    assert f"{options} -o HostKeyAlias=seven -p 2222 carrier@10.0.0.1 exit`" in caught.value.hint


def test_a_changed_key_of_many_hosts(tmp_path):
    with pytest.raises(TransportError, match="changed host key") as caught:
        known(tmp_path, f"*.example ssh-ed25519 {text(ONE)}").check(HOST, "ssh-ed25519", TWO, ROUTE)
    assert "with an editor (line 1, which is for *.example)" in caught.value.hint
    assert "-R" not in caught.value.hint
