"""`airgap send` before any host is reached: what is refused, and what is recorded."""

import pytest

from airgap.endpoints.ssh import config
from tests.cli.conftest import Gap


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(config, "_SYSTEM_CONFIG", tmp_path / "none")


@pytest.mark.parametrize(
    ("words", "code", "want"),
    [
        ([], 2, "no host, want HOST, or --inventory FILE"),
        (["-x@y"], 2, "no such option"),
        (["a b"], 2, "not a host, want [USER@]HOST[:PORT], got 'a b'"),
        (["plant", "plant"], 2, "host is named twice: plant"),
        (["plant", "ssh://plant"], 2, "host is named twice: plant"),
        (["plant", "--identity", "none"], 13, "cannot read the SSH key: none"),
        (["plant", "--ssh-config", "none"], 2, "no such file: none, want an ssh_config file"),
        (["plant", "--known-hosts", "none"], 2, "no such file: none, want a known_hosts file"),
        (["plant", "--jobs", "0"], 2, "jobs"),
        (["plant", "--load", "oci"], 2, "not a target: oci, want docker"),
        (["plant", "--load", "docker:plant"], 2, "not a target: docker:plant"),
        (["--inventory", "none.yaml"], 10, "no such file: none.yaml"),
        (["--password", "x", "plant"], 2, "no such option"),
    ],
)
def test_refused(gap: Gap, words, code, want):
    bundle = gap.pack()
    before = len(gap.online.records())
    assert want in gap.online("send", bundle, *words, code=code).err
    assert len(gap.online.records()) == before


def test_a_host_of_both_kinds_is_named_twice(gap: Gap):
    (gap.folder / "hosts.yaml").write_text("version: 1\nhosts: [b, a]\n")
    bundle = gap.pack()
    answer = gap.online("send", bundle, "a", "--inventory", gap.folder / "hosts.yaml", code=2)
    assert "host is named twice: a" in answer.err


def test_nobody_answers(gap: Gap):
    bundle = gap.pack()
    answer = gap.online("send", bundle, "carrier@127.0.0.1:1", code=20)
    assert "error: cannot connect: carrier@127.0.0.1:1, got Connection refused\n" in answer.err
    assert answer.out.splitlines()[1].split() == ["carrier@127.0.0.1:1", "failed", "-", "-", "-"]
    assert gap.online.ended() == ("send", "failed", 20)


def test_many_hosts_in_json(gap: Gap):
    (gap.folder / "hosts.yaml").write_text("version: 1\nhosts: ['127.0.0.1:1', '127.0.0.1:2']\n")
    bundle = gap.pack()
    answer = gap.online(
        "send", bundle, "--inventory", gap.folder / "hosts.yaml", "--json", "--quiet", code=20
    )
    assert [host["host"] for host in answer.json["hosts"]] == ["127.0.0.1:1", "127.0.0.1:2"]
    assert {host["state"] for host in answer.json["hosts"]} == {"failed"}
    assert answer.json["error"]["exit_code"] == 20
    assert answer.err.startswith("error: all 2 hosts failed, the first with: cannot connect: ")
    both = gap.online("send", bundle, "--inventory", gap.folder / "hosts.yaml", code=20).out
    assert "failed: 127.0.0.1:1: cannot connect" in both
    assert "failed: 127.0.0.1:2: cannot connect" in both


def test_a_target_of_the_inventory_is_judged_too(gap: Gap):
    (gap.folder / "hosts.yaml").write_text("version: 1\nhosts: [{host: plant, load: oci}]\n")
    answer = gap.online("send", gap.pack(), "--inventory", gap.folder / "hosts.yaml", code=2)
    assert "not a target: oci" in answer.err


def test_a_bad_bundle_is_recorded(gap: Gap):
    bundle = gap.pack()
    (bundle / "index.json").write_bytes(b"{}")
    gap.online("send", bundle, "127.0.0.1:1", code=12)
    assert gap.online.ended() == ("send", "refused", 12)


def test_a_site_without_trust(fresh, tmp_path):
    assert "there is no site here yet" in fresh("send", tmp_path, "plant", code=2).err


# -- `load` through SSH has the same options


@pytest.mark.parametrize(
    ("words", "code", "want"),
    [
        (
            ["oci:out", "--identity", "id"],
            2,
            "SSH options need an engine, want --to docker:ssh://[USER@]HOST[:PORT], got oci:out",
        ),
        (["docker:ssh://plant", "--identity", "none"], 13, "cannot read the SSH key: none"),
        (["docker:ssh://plant", "--known-hosts", "none"], 2, "no such file: none, want a known_hosts file"),
        (["podman:ssh://plant", "--ssh-config", "none"], 2, "no such file: none, want an ssh_config file"),
    ],
)
def test_load_with_options_for_ssh(gap: Gap, words, code, want):
    assert want in gap.offline("load", gap.pack(), "--to", *words, code=code).err
