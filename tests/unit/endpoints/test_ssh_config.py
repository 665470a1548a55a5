"""ssh_config: which settings count, the chain of jumps, and what is refused."""

from getpass import getuser
from pathlib import Path

import pytest

from airgap.endpoints.ssh.address import Address
from airgap.endpoints.ssh.config import Hop, SshConfig, SshOptions
from airgap.errors import FormatError, UsageError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    return tmp_path


def route(home: Path, text: str, address: str = "plant", **options) -> tuple[Hop, ...]:
    (home / ".ssh" / "config").write_text(text)
    return SshConfig(SshOptions(**options)).route(Address.parse(address))


def places(hops: tuple[Hop, ...]) -> list[str]:
    return [str(hop) for hop in hops]


def test_nothing_set(home):
    [hop] = SshConfig(SshOptions()).route(Address.parse("plant"))
    assert (hop.host, hop.port, hop.user, hop.known_as) == ("plant", 22, getuser(), "plant")
    assert hop.known_hosts == (
        home / ".ssh" / "known_hosts",
        home / ".ssh" / "known_hosts2",
        Path("/etc/ssh/ssh_known_hosts"),
    )
    assert (hop.identities, hop.identities_only) == ((), False)


def test_all_that_counts(home):
    [hop] = route(
        home,
        "Host plant\n HostName 10.0.0.1\n User carrier\n Port 2222\n IdentityFile ~/.ssh/one\n"
        " IdentityFile /two\n IdentitiesOnly yes\n UserKnownHostsFile ~/kh /etc/kh\n"
        "Host *\n User other\n IdentityFile ~/.ssh/last\n",
    )
    assert str(hop) == "carrier@10.0.0.1:2222"
    assert hop.known_as == "[10.0.0.1]:2222"
    assert hop.identities == (home / ".ssh" / "one", Path("/two"), home / ".ssh" / "last")
    assert hop.identities_only
    assert hop.known_hosts == (home / "kh", Path("/etc/kh"), Path("/etc/ssh/ssh_known_hosts"))


def test_the_address_and_the_options_win(home):
    (home / "kh").touch()
    [hop] = route(
        home,
        "Host plant\n User carrier\n Port 2222\n IdentityFile /a\n UserKnownHostsFile /dev/null\n",
        "root@plant:22",
        known_hosts=home / "kh",
        identities=(Path("/mine"),),
    )
    assert (hop.user, hop.port) == ("root", 22)
    assert hop.known_hosts == (home / "kh",)
    assert hop.identities == (Path("/mine"), Path("/a"))


def test_host_key_alias(home):
    [hop] = route(home, "Host plant\n HostName 10.0.0.1\n Port 2222\n HostKeyAlias Plant-7\n")
    assert hop.known_as == "plant-7"


@pytest.mark.parametrize("setting", ["StrictHostKeyChecking no", "CheckHostIP no", "VerifyHostKeyDNS yes"])
def test_nothing_weakens_the_check(home, setting):
    plain = route(home, "Host plant\n User a\n")
    assert route(home, f"Host plant\n User a\n {setting}\n") == plain


def test_jumps(home):
    config = (
        "Host plant\n ProxyJump two\nHost two\n ProxyJump one\n HostName 10.0.0.2\nHost one\n Port 2222\n"
        "Host *\n User u\n"
    )
    assert places(route(home, config)) == ["u@one:2222", "u@10.0.0.2:22", "u@plant:22"]


def test_jumps_in_one_line(home):
    config = "Host plant\n ProxyJump a@one:23, two\nHost one\n ProxyJump zero\nHost two\n ProxyJump never\nHost *\n User u\n"
    assert places(route(home, config)) == ["u@zero:22", "a@one:23", "u@two:22", "u@plant:22"]


def test_no_jump(home):
    assert len(route(home, "Host plant\n ProxyJump none\nHost *\n ProxyJump gate\n")) == 1


def test_includes(home):
    (home / ".ssh" / "conf.d").mkdir()
    (home / ".ssh" / "conf.d" / "a").write_text("Host plant\n Port 2222\n")
    (home / ".ssh" / "conf.d" / "b").write_text("Host other\n User wrong\n")
    [hop] = route(home, "Include conf.d/*\nUser carrier\nHost *\n Port 1\n")
    assert (hop.port, hop.user) == (2222, "carrier"), "after an Include the former block goes on"
    [hop] = route(home, f"include {home}/.ssh/conf.d/a none/at/all\n")
    assert hop.port == 2222


def test_include_in_a_block(home):
    (home / ".ssh" / "x").write_text("Port 2222\n")
    config = "Host plant\n Include x\n User carrier\n"
    [hop] = route(home, config)
    assert (hop.port, hop.user) == (2222, "carrier")
    [hop] = route(home, config, "other")
    assert hop.port == 22


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("Host plant\n ProxyCommand nc %h %p\n", "ProxyCommand is not supported"),
        ("Match exec true\n Port 1\n", "Match exec is not supported"),
        ('Match host plant exec "touch x"\n Port 1\n', "Match exec is not supported"),
        ("Match !exec true\n", "Match exec is not supported"),
        ('Match host "plant\n', "not an ssh_config file"),
        ('Match=exec "touch x"\n', "Match exec is not supported"),
        ('Match "exec" "touch x"\n', "Match exec is not supported"),
        ('Match ex""ec "touch x"\n', "Match exec is not supported"),
        ('Match host plant !"exec" "touch x"\n', "Match exec is not supported"),
        ("Host plant\n Port x\n", "not a port"),
        ("Host plant\n Port 0\n", "not a port"),
        ("Host plant\n Port 65536\n", "not a port"),
        ("Host plant\n Port ²\n", "not a port"),
        ("Host plant\n ProxyJump plant\n", "ProxyJump leads in a circle"),
        ("Host plant\n ProxyJump b\nHost b\n ProxyJump plant\n", "ProxyJump leads in a circle"),
        ('Host plant\n UserKnownHostsFile "a\n', "not a list of files"),
        ('Include "a\n', "not a list of files"),
        ("nonsense\n", "not an ssh_config file"),
        ("Match user\n", "not an ssh_config file"),
        ("# " + "x" * (1 << 20), "too large"),
        ("Include config\n", "too large"),
    ],
)
def test_refused(home, text, want):
    with pytest.raises(FormatError, match=want):
        route(home, text)


def test_a_jump_that_is_no_host(home):
    with pytest.raises(UsageError, match="not a host"):
        route(home, "Host plant\n ProxyJump -oX\n")


def test_other_hosts_are_left_alone(home):
    assert len(route(home, "Host other\n ProxyCommand nc %h %p\n")) == 1


@pytest.mark.parametrize("option", ["config_file", "known_hosts"])
def test_named_files_must_be_there(home, option):
    with pytest.raises(UsageError, match="no such file"):
        SshConfig(SshOptions(**{option: home / "none"}))


def test_a_folder_is_no_file(home):
    with pytest.raises(FormatError, match="cannot be read"):
        SshConfig(SshOptions(config_file=home))
