"""ssh_config: which settings count, the chain of jumps, and what is refused."""

from pathlib import Path

import pytest

from airgap.account import user_name
from airgap.endpoints.ssh import config
from airgap.endpoints.ssh.address import Address
from airgap.endpoints.ssh.config import Hop, SshConfig, SshOptions
from airgap.errors import FormatError, UsageError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / "etc").mkdir()
    monkeypatch.setattr(config, "_SYSTEM_CONFIG", tmp_path / "etc" / "ssh_config")
    return tmp_path


def route(home: Path, text: str, address: str = "plant", **options) -> tuple[Hop, ...]:
    (home / ".ssh" / "config").write_text(text)
    return SshConfig(SshOptions(**options)).route(Address.parse(address))


def places(hops: tuple[Hop, ...]) -> list[str]:
    return [str(hop) for hop in hops]


def test_nothing_set(home):
    [hop] = SshConfig(SshOptions()).route(Address.parse("plant"))
    assert (hop.host, hop.port, hop.user, hop.known_as) == ("plant", 22, user_name(), "plant")
    assert hop.known_hosts == (
        home / ".ssh" / "known_hosts",
        home / ".ssh" / "known_hosts2",
        Path("/etc/ssh/ssh_known_hosts"),
        Path("/etc/ssh/ssh_known_hosts2"),
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
    assert hop.known_hosts[:2] == (home / "kh", Path("/etc/kh"))
    assert hop.known_hosts[2:] == (Path("/etc/ssh/ssh_known_hosts"), Path("/etc/ssh/ssh_known_hosts2"))


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
def test_no_setting_weakens_the_check(home, setting):
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
        ("Host plant\n ProxyJump plant\n", "ProxyJump forms a loop"),
        ("Host plant\n ProxyJump b\nHost b\n ProxyJump plant\n", "ProxyJump forms a loop"),
        ('Host plant\n UserKnownHostsFile "a\n', "an unclosed quote"),
        ('Include "a\n', "an unclosed quote"),
        ("Include x/%h\n", "cannot be expanded"),
        ("Include ${HOME}/x\n", "cannot be expanded"),
        ("Include ~nobody-of-this-name/x\n", "no such user"),
        ("Host plant\n IdentityFile ~nobody-of-this-name/x\n", "no such user"),
        ("Host plant\n IdentityFile /k/%C\n", "cannot be expanded: .*config:2: identityfile, got %C"),
        ("Host plant\n IdentityFile /k/%\n", "cannot be expanded"),
        ("Host plant\n UserKnownHostsFile /k/${NOT_SET_HERE}\n", "cannot be expanded"),
        ("Host plant\n HostName %n.example\n", "cannot be expanded"),
        ("Host plant\n KnownHostsCommand /bin/keys %H\n", "KnownHostsCommand is not supported"),
        ("Host plant\n RevokedHostKeys /etc/revoked\n", "RevokedHostKeys is not supported"),
        ("Host plant\n CanonicalizeHostname yes\n", "CanonicalizeHostname is not supported"),
        ("Match tagged x\n Port 1\n", "unsupported Match criterion: .*config:1, got tagged"),
        ("Match localnetwork 10.0.0.0/8\n Port 1\n", "unsupported Match criterion"),
        ("Match !version=x\n Port 1\n", "unsupported Match criterion"),
        ("Match all host plant\n Port 1\n", "want `all` alone"),
        ("Match host plant all\n Port 1\n", "want `all` alone"),
        ("Match EXEC true\n Port 1\n", "Match exec is not supported"),
        ("Match exec=true\n Port 1\n", "Match exec is not supported"),
        ("Host plant\n HostName a b\n", "more than one value"),
        ('Host plant\n HostName ""\n', "an empty value"),
        ("Host plant\n HostName # none\n", "an empty value"),
        ("nonsense\n", "not an ssh_config file"),
        ("Match user\n", "not an ssh_config file"),
        ("# " + "x" * (1 << 20), "too large"),
        ("Include config\n", "too large"),
    ],
)
def test_refused(home, text, want):
    with pytest.raises(FormatError, match=want):
        route(home, text)


def test_a_jump_that_is_not_a_host(home):
    with pytest.raises(UsageError, match="not a host"):
        route(home, "Host plant\n ProxyJump -oX\n")


@pytest.mark.parametrize(
    "setting",
    [
        "ProxyCommand nc %h %p", "KnownHostsCommand x", "RevokedHostKeys /x", "CanonicalizeHostname always",
        "IdentityFile /k/%C",
    ],
)  # fmt: skip
def test_other_hosts_are_left_alone(home, setting):
    plain = route(home, "")
    assert route(home, f"Host other\n {setting}\n") == plain


@pytest.mark.parametrize(
    "setting",
    ["ProxyCommand none", "KnownHostsCommand none", "RevokedHostKeys none", "CanonicalizeHostname no"],
)
def test_what_is_refused_may_be_switched_off(home, setting):
    plain = route(home, "")
    assert route(home, f"{setting}\n") == plain


def test_a_command_for_keys_that_is_not_needed(home):
    (home / "kh").touch()
    [hop] = route(home, "KnownHostsCommand /bin/keys\n", known_hosts=home / "kh")
    assert hop.known_hosts == (home / "kh",)


# -- the system's file


def test_the_systems_file_comes_second(home):
    (home / "etc" / "d").mkdir()
    (home / "etc" / "ssh_config").write_text("Include d/*\nHost *\n User system\n Port 2\n IdentityFile /s\n")
    (home / "etc" / "d" / "a.conf").write_text("Host plant\n HostName 10.0.0.1\n")
    [hop] = route(home, "Host plant\n User mine\n IdentityFile /m\n")
    assert str(hop) == "mine@10.0.0.1:2"
    assert hop.identities == (Path("/m"), Path("/s"))
    [hop] = route(home, "Host other\n User mine\n")
    assert str(hop) == "system@10.0.0.1:2", "a block ends with its file"


def test_a_named_file_stands_alone(home):
    (home / "etc" / "ssh_config").write_text("User system\n")
    (home / "own").write_text("Port 3\n")
    [hop] = route(home, "User mine\n", config_file=home / "own")
    assert (hop.user, hop.port) == (user_name(), 3)


def test_the_systems_file_is_refused_as_any_other(home):
    (home / "etc" / "ssh_config").write_text("Match exec true\n Port 1\n")
    with pytest.raises(FormatError, match=r"Match exec is not supported: .*etc/ssh_config:1") as caught:
        route(home, "")
    assert "--ssh-config FILE" in caught.value.hint


@pytest.mark.parametrize(("name", "mode"), [("config", 0o666), ("config", 0o602), ("more", 0o646)])
def test_files_that_others_can_write(home, name, mode):
    (home / ".ssh" / "more").write_text("Port 3\n")
    (home / ".ssh" / "config").write_text("Include more\n")
    (home / ".ssh" / name).chmod(mode)
    with pytest.raises(FormatError, match=f"other users can write the file: .*/{name}, .* mode {mode:04o}"):
        SshConfig(SshOptions())


# -- blocks


def test_an_include_counts_where_its_block_does(home):
    (home / ".ssh" / "x").write_text("User inner\nHost plant\n Port 2222\nHost *\n Port 3333\n")
    config = "Host plant\n Include x\n HostName 10.0.0.1\nHost *\n User outer\n"
    assert places(route(home, config)) == ["inner@10.0.0.1:2222"]
    assert places(route(home, config, "other")) == ["outer@other:22"], "not even the blocks in it"


def test_names_in_an_included_file_start_at_the_users_folder(home):
    (home / ".ssh" / "d").mkdir()
    (home / ".ssh" / "d" / "a").write_text("Include b\n")
    (home / ".ssh" / "b").write_text("Port 2222\n")
    (home / ".ssh" / "d" / "b").write_text("Port 3333\n")
    assert route(home, "Include d/a\n")[0].port == 2222
    (home / "own").write_text("Include d/a\n")
    assert route(home, "", config_file=home / "own")[0].port == 2222


@pytest.mark.parametrize(
    ("match", "address", "counts"),
    [
        ("user carrier", "carrier@plant", True),
        ("user carrier", "plant", True),
        ("user carrier", "root@plant", False),
        ("user root", "root@plant", True),
        ("!user root", "root@plant", False),
        ("user=root", "root@plant", True),
        ("user r*,!root", "root@plant", False),
        ("host 10.0.0.1", "plant", True),
        ("host plant", "plant", False),
        ("originalhost PLANT", "plant", True),
        ("HOST 10.0.0.* user carrier", "plant", True),
        ("host 10.0.0.1 !user carrier", "plant", False),
        ("localuser nobody-of-this-name", "plant", False),
        ("all", "plant", True),
        ("!all", "plant", False),
        ("canonical", "plant", False),
        ("!canonical", "plant", True),
        ("final", "plant", True),
        ("final all", "plant", True),
        ("final host plant", "plant", False),
    ],
)
def test_match(home, match, address, counts):
    text = f"Host plant\n HostName 10.0.0.1\n User carrier\nMatch {match}\n Port 2222\n User late\n"
    [hop] = route(home, text, address)
    assert hop.port == (2222 if counts else 22)
    assert hop.user != "late"


def test_a_jump_has_a_user_of_its_own_to_match(home):
    config = "Host plant\n ProxyJump root@gate\nMatch user root\n Port 2222\n"
    assert places(route(home, config, "carrier@plant")) == ["root@gate:2222", "carrier@plant:22"]


def test_the_first_proxy_counts(home):
    assert len(route(home, "Host plant\n ProxyCommand none\nHost *\n ProxyJump gate\n")) == 1
    assert len(route(home, "Host plant\n ProxyJump gate\nHost plant\n ProxyCommand nc %h\n")) == 2
    with pytest.raises(FormatError, match="ProxyCommand is not supported"):
        route(home, "Host plant\n ProxyCommand nc %h\nHost *\n ProxyJump gate\n")


# -- words


def test_words(home):
    [hop] = route(
        home,
        'HostName="10.0.0.1" # where it stands\n\tUser = carrier#7\r\n"Port" 2222\n'
        "IdentityFile '/a b'\nIdentityFile /c\\ d\nIdentityFile /e~%%f\nIdentityFile \"/g'\\\"h\"\n"
        '# Port 1\u2028HostName wrong\nLocalCommand echo "it\n',
    )
    assert str(hop) == "carrier#7@10.0.0.1:2222"
    assert hop.identities == (Path("/a b"), Path("/c d"), Path("/e~%f"), Path("/g'\"h"))


def test_what_signs_stand_for(home, monkeypatch):
    monkeypatch.setenv("KEYS", "/keys")
    [hop] = route(
        home,
        "Host plant\n HostName %h.example\n Port 2222\n User carrier\n HostKeyAlias seven\n ProxyJump %r@%n-gate\n"
        " IdentityFile ${KEYS}/%r@%h:%p-%n-%%\n IdentityFile ~/%k\n UserKnownHostsFile %d/kh none\n"
        " GlobalKnownHostsFile /g/a\n",
    )[1:]
    assert hop.host == "plant.example"
    assert hop.identities == (Path("/keys/carrier@plant.example:2222-plant-%"), home / "seven")
    assert hop.known_hosts == (home / "kh", Path("none"), Path("/g/a"))
    assert (
        str(route(home, "Host plant\n ProxyJump %r@%n-gate\n", "carrier@plant:1")[0])
        == "carrier@plant-gate:22"
    )


def test_no_known_hosts_of_the_user(home):
    assert route(home, "UserKnownHostsFile none\nGlobalKnownHostsFile none\n")[0].known_hosts == ()


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ("none", ""),
        ("SSH_AUTH_SOCK", None),
        ("$OTHER", "/other"),
        ("$NOT_SET_HERE", ""),
        ("${OTHER}/x", "/other/x"),
        ("/run/%r", "/run/carrier"),
    ],
)
def test_the_agent(home, monkeypatch, value, want):
    monkeypatch.setenv("OTHER", "/other")
    assert route(home, f"IdentityAgent {value}\n", "carrier@plant")[0].agent == want
    assert route(home, "")[0].agent is None


@pytest.mark.parametrize("option", ["config_file", "known_hosts"])
def test_named_files_must_be_there(home, option):
    with pytest.raises(UsageError, match="no such file"):
        SshConfig(SshOptions(**{option: home / "none"}))


def test_a_folder_is_not_a_config_file(home):
    with pytest.raises(FormatError, match="cannot be read"):
        SshConfig(SshOptions(config_file=home))
