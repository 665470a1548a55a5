"""ssh_config as `airgap send` understands it, beside what OpenSSH's own client says of the same file."""

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from airgap.endpoints.ssh.address import Address
from airgap.endpoints.ssh.config import SshConfig, SshOptions
from airgap.endpoints.ssh.known_hosts import known_name
from tests.support.parts import require_tool

pytestmark = pytest.mark.e2e

CONFIGS = [
    "Host plant\n HostName 10.0.0.1\n User a\nHost *\n User b\n Port 23\n IdentityFile /k/%r\n",
    "Host plant !other\n Port 1\nHost * !plant\n Port 2\nHost Plant\n Port 3\n",
    "Match user bob\n Port 24\nMatch !user bob\n User carrier\nMatch user carrier\n Port 25\n",
    "Host plant\n HostName %h.example\nMatch host *.example\n Port 26\nMatch originalhost PL*\n User late\n",
    "Match final host plant\n Port 27\nHost plant\n HostName other\n",
    "Match final all\n Port 28\n HostName late\nMatch canonical\n User late\nHost plant\n User soon\n",
    "Host plant\n Include {folder}/more\n User after\nHost other\n User x\n",
    "Host other\n Include {folder}/more\n User after\nHost plant\n User x\n",
    "Host plant\n ProxyCommand none\nHost * !gate\n ProxyJump gate\n",
    "Host plant\n ProxyJump gate\nHost *\n ProxyJump none\n HostKeyAlias Seven\n",
    "Match all\n IdentitiesOnly yes\n UserKnownHostsFile /a '/b c'\n GlobalKnownHostsFile /d\n",
    'User="a b" # a comment\nPort\t=\t29\nHostName \'x"y\'\nIdentityFile /k\\ l\n',
]


@pytest.mark.parametrize("text", CONFIGS)
@pytest.mark.parametrize("address", ["plant", "bob@plant", "Plant", "other"])
def test_as_openssh_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, address: str
) -> None:
    monkeypatch.setenv("HOME", pwd.getpwuid(os.getuid()).pw_dir)  # OpenSSH asks nobody else
    (tmp_path / "more").write_text("Port 30\nHost plant\n IdentityFile /more\n")
    config = tmp_path / "config"
    config.write_text(text.replace("{folder}", str(tmp_path)))
    hops = SshConfig(SshOptions(config)).route(Address.parse(address))
    said = _said(config, address)
    host, port = said["hostname"][0], int(said["port"][0])
    known = said["hostkeyalias"][0].lower() if "hostkeyalias" in said else known_name(host, port)
    found = hops[-1]
    assert (found.host.lower(), found.port, found.user) == (host, port, said["user"][0])
    assert found.known_as == known
    assert found.identities_only is (said["identitiesonly"][0] == "yes")
    assert (len(hops) > 1) is (said.get("proxyjump", ["none"]) != ["none"])
    if found.identities:
        named = [name.replace("%r", found.user) for name in said["identityfile"]]
        assert [str(path) for path in found.identities] == named
    files = said["userknownhostsfile"] + said["globalknownhostsfile"]
    assert " ".join(map(str, found.known_hosts)) == " ".join(files)


def _said(config: Path, address: str) -> dict[str, list[str]]:
    """What `ssh -G` prints: each setting with its values."""
    command = [require_tool("ssh"), "-G", "-F", config, address]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found: dict[str, list[str]] = {}
    for line in lines:
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value)
    return found
