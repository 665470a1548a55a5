"""Secrets in every place that takes text: refused without a word of them, or hidden wherever something is kept."""

import base64
import hashlib
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from airgap.carry.operator import Wanted
from airgap.cli import operator_prompt as asking
from tests.cli.conftest import Done, Gap, Side
from tests.support.images import simple_image
from tests.support.registry import FakeRegistry

SECRET = "hunter2/Geheim"
LOGIN = f"user:{SECRET}@host.example"
API = simple_image("api")


def leaks(gap: Gap, *outputs: Done, but: tuple[Path, ...] = ()) -> list[str]:
    """Where the secret, or a form of it, stands: in what was printed, and in all files but those given."""
    forms = (SECRET, SECRET.replace("/", "%2F"), base64.b64encode(f"user:{SECRET}".encode()).decode())
    found = [f"{name}: {text}" for done in outputs for name, text in (("out", done.out), ("err", done.err))]
    files = (path for path in gap.folder.rglob("*") if path.is_file() and path not in but)
    found += [f"{path}: {path.read_bytes().decode('latin-1')}" for path in files]
    return [text for text in found if any(form in text for form in forms)]


# -- the command line

WORDS: dict[str, tuple[str, ...]] = {
    "target registry": ("load", "BUNDLE", "--to", f"registry:{LOGIN}:5000/x"),
    "target in one word": ("load", "BUNDLE", f"--to=registry:{LOGIN}"),
    "target with a token": ("load", "BUNDLE", "--to", f"registry:{SECRET}@host.example"),
    "target with a URL": ("load", "BUNDLE", "--to", f"registry:https://{LOGIN}"),
    "target encoded": ("load", "BUNDLE", "--to", f"registry:user%3A{SECRET}%40host.example"),
    "target engine tcp": ("load", "BUNDLE", "--to", f"docker:tcp://{LOGIN}:2375"),
    "target engine ssh": ("load", "BUNDLE", "--to", f"docker:ssh://{LOGIN}"),
    "target podman": ("load", "BUNDLE", "--to", f"podman:ssh://{LOGIN}"),
    "target containerd": ("load", "BUNDLE", "--to", f"containerd:{LOGIN}"),
    "target archive": ("load", "BUNDLE", "--to", f"archive:https://{LOGIN}/x.tar"),
    "target oci": ("load", "BUNDLE", "--to", f"oci:ftp://{LOGIN}/x"),
    "target k3s": ("load", "BUNDLE", "--to", f"k3s:https://{LOGIN}/x"),
    "target of no kind": ("load", "BUNDLE", "--to", LOGIN),
    "target with a query": ("load", "BUNDLE", "--to", f"registry:host.example/x?token={SECRET}"),
    "map from": ("load", "BUNDLE", "--to", "oci:out", "--map", f"{LOGIN}=h.example"),
    "map to": ("load", "BUNDLE", "--to", "oci:out", "--map", f"example.com=https://{LOGIN}"),
    "plain http": ("load", "BUNDLE", "--to", "oci:out", "--plain-http", LOGIN),
    "CA file": ("load", "BUNDLE", "--to", "oci:out", "--ca-file", f"https://{LOGIN}/ca.pem"),
    "SSH key": ("load", "BUNDLE", "--to", "docker:ssh://h", "--identity", f"https://{LOGIN}/id"),
    "on conflict": ("load", "BUNDLE", "--to", "oci:out", "--on-conflict", f"https://{LOGIN}"),
    "bundle": ("load", f"https://{LOGIN}/stack-0001", "--to", "oci:out"),
    "pack manifest": ("pack", f"https://{LOGIN}/stack.yaml", "--to", "stick"),
    "pack to": ("pack", "MANIFEST", "--to", f"sftp://{LOGIN}/stick"),
    "pack mirror": ("pack", "MANIFEST", "--to", "stick", "--mirror", f"docker.io={LOGIN}"),
    "pack mirror URL": ("pack", "MANIFEST", "--to", "stick", "--mirror", f"docker.io=https://{LOGIN}/x"),
    "pack since": ("pack", "MANIFEST", "--to", "stick", "--since", f"https://{LOGIN}/x"),
    "pack signed link": ("pack", "MANIFEST", "--to", f"https://h/x?X-Amz-Signature={SECRET}"),
    "lock": ("lock", "MANIFEST", "--mirror", f"docker.io=https://{LOGIN}"),
    "plan": ("plan", "MANIFEST", "--since", LOGIN),
    "send host": ("send", "BUNDLE", LOGIN),
    "send URL": ("send", "BUNDLE", f"ssh://{LOGIN}"),
    "send to": ("send", "BUNDLE", "h", "--to", f"sftp://{LOGIN}/x"),
    "send load": ("send", "BUNDLE", "h", "--load", f"registry:{LOGIN}"),
    "send inventory": ("send", "BUNDLE", "--inventory", f"https://{LOGIN}/hosts.yaml"),
    "receive": ("receive", "BUNDLE", "--into", f"https://{LOGIN}/x"),
    "repack": ("repack", "BUNDLE", "--to", f"https://{LOGIN}/x"),
    "repair": ("repair", f"https://{LOGIN}/x", "--from", "BUNDLE"),
    "inspect": ("inspect", f"https://{LOGIN}/x"),
    "verify": ("verify", f"https://{LOGIN}/x"),
    "sign": ("sign", "BUNDLE", "--key", LOGIN),
    "serve": ("serve", "BUNDLE", "--bind", LOGIN),
    "kit": ("kit", "verify", f"https://{LOGIN}/kit"),
    "trust install": ("trust", "install", f"https://{LOGIN}/1.root.json"),
    "trust add": ("trust", "add", LOGIN, "--key", "x.pub"),
    "trust add-site": ("trust", "add-site", "plant", "--key", f"https://{LOGIN}/site.pub"),
    "receipt import": ("receipt", "import", f"https://{LOGIN}/x.json"),
    "audit find": ("audit", "find", LOGIN),
    "audit report": ("audit", "report", "--html", f"https://{LOGIN}/x.html"),
    "audit verify": ("audit", "verify", f"https://{LOGIN}/x"),
    "key": ("key", "generate", LOGIN),
    "init": ("init", "--owner", LOGIN, "--site", "hq"),
    "no such command": (f"https://{LOGIN}",),
    "no such option": ("load", f"--password=https://{LOGIN}"),
    "a header": ("load", "BUNDLE", "--to", f"registry:h Authorization: Bearer {SECRET}"),
}


@pytest.fixture
def packed(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> Gap:
    monkeypatch.chdir(gap.folder)
    gap.pack()
    return gap


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_on_the_command_line(packed: Gap, words: tuple[str, ...]) -> None:
    known = {"BUNDLE": packed.stick / "stack-0001", "MANIFEST": packed.folder / "stack.yaml"}
    before = packed.online.records()
    done = packed.online(*(known.get(word, word) for word in words), "--json", "--debug", code=2)
    assert leaks(packed, done) == []
    assert "error: a " in done.err
    assert "docker login" in json.loads(done.out)["error"]["hint"]
    assert packed.online.records() == before


# -- manifests, and what else is listed in a file

MANIFESTS: dict[str, str] = {
    "reference": f"images: ['{LOGIN}/api:1']",
    "reference as a URL": f"images: ['https://{LOGIN}/api:1']",
    "ref": f"images: [{{ref: '{LOGIN}/api:1'}}]",
    "as": f"images: [{{ref: a, as: '{LOGIN}/api:1'}}]",
    "source ssh": f"images: [{{ref: a, source: 'docker:ssh://{LOGIN}'}}]",
    "source tcp": f"images: [{{ref: a, source: 'docker:tcp://{LOGIN}'}}]",
    "archive": f"images: [{{archive: 'https://{LOGIN}/x.tar'}}]",
    "oci": f"images: [{{oci: 'https://{LOGIN}/x'}}]",
    "cosign-key": f"images: [{{ref: a, cosign-key: 'https://{LOGIN}/k.pub'}}]",
    "digest": f"images: [{{ref: a, digest: '{LOGIN}'}}]",
    "platforms": f"platforms: ['{LOGIN}']\nimages: [a]",
    "destinations": f"destinations: ['{LOGIN}']\nimages: [a]",
    "transfer value": f"transfer: {{ticket: 'https://{LOGIN}/CHG-7'}}\nimages: [a]",
    "transfer link": f"transfer: {{ticket: 'https://h.example/?token={SECRET}'}}\nimages: [a]",
    "transfer login": f"transfer: {{note: 'see registry:{LOGIN}'}}\nimages: [a]",
    "transfer password": f"transfer: {{password: '{SECRET}'}}\nimages: [a]",
    "transfer key": f"transfer: {{'https://{LOGIN}': x}}\nimages: [a]",
    "unknown key": f"password: '{SECRET}'\nimages: [a]",
    "unknown key of an image": f"images: [{{password: '{SECRET}'}}]",
    "unknown login": f"images: [{{ref: a, auth: {{token: '{SECRET}'}}}}]",
    "attachments": f"attachments: '{LOGIN}'\nimages: [a]",
    "twice": f"'https://{LOGIN}': x\n'https://{LOGIN}': x\nimages: [a]",
    "an alias": f"images: [*{SECRET}]\nx: 'https://{LOGIN}'",
    "not closed": f"images: ['https://{LOGIN}/api:1",
}


@pytest.mark.parametrize("text", MANIFESTS.values(), ids=MANIFESTS)
def test_in_a_manifest(gap: Gap, text: str) -> None:
    path = gap.folder / "stack.yaml"
    path.write_text(f"version: 1\nname: stack\n{text}\n")
    done = gap.online("pack", path, "--to", gap.stick, "--json", "--debug", code=10)
    found = leaks(gap, done, but=(path,))
    assert found == [] or (text == MANIFESTS["an alias"] and LOGIN not in str(found))
    assert f"{path}:" in done.err


INVENTORIES = {
    "host": f"hosts: ['{LOGIN}']",
    "host as a URL": f"hosts: ['ssh://{LOGIN}']",
    "user": f"hosts: [{{host: h, user: '{LOGIN}'}}]",
    "password": f"hosts: [{{host: h, password: '{SECRET}'}}]",
    "to": f"to: 'sftp://{LOGIN}/x'\nhosts: [h]",
    "load": f"load: 'registry:{LOGIN}'\nhosts: [h]",
    "load of a host": f"hosts: [{{host: h, load: 'registry:{LOGIN}'}}]",
}


@pytest.mark.parametrize("text", INVENTORIES.values(), ids=INVENTORIES)
def test_in_an_inventory(packed: Gap, text: str) -> None:
    path = packed.folder / "hosts.yaml"
    path.write_text(f"version: 1\n{text}\n")
    bundle = packed.stick / "stack-0001"
    done = packed.online("send", bundle, "--inventory", path, "--json", "--debug", code=10)
    assert leaks(packed, done, but=(path,)) == []


# -- the environment, and Docker's files

ENVIRONMENT: dict[str, tuple[str, str, str, int]] = {
    "engine tcp": ("DOCKER_HOST", f"tcp://{LOGIN}:2375", "docker", 18),
    "engine ssh": ("DOCKER_HOST", f"ssh://{LOGIN}", "docker", 18),
    "engine of another scheme": ("DOCKER_HOST", f"https://{LOGIN}", "docker", 18),
    "engine malformed": ("DOCKER_HOST", f"user:{SECRET}@[host", "docker", 18),
    "context": ("DOCKER_CONTEXT", f"https://{LOGIN}", "docker", 18),
    "containerd": ("CONTAINERD_ADDRESS", f"tcp://{LOGIN}", "containerd", 2),
    "podman": ("CONTAINER_HOST", f"tcp://{LOGIN}", "podman", 18),
    "Docker's folder": ("DOCKER_CONFIG", f"https://{LOGIN}", "docker:unix:///nowhere", 18),
}


@pytest.mark.parametrize(("name", "value", "target", "code"), ENVIRONMENT.values(), ids=ENVIRONMENT)
def test_in_the_environment(
    packed: Gap, monkeypatch: pytest.MonkeyPatch, name: str, value: str, target: str, code: int
) -> None:
    monkeypatch.setenv(name, value)
    bundle = packed.stick / "stack-0001"
    done = packed.offline("load", bundle, "--to", target, "--json", "--debug", code=code)
    assert leaks(packed, done, packed.offline("audit", "log"), packed.offline("audit", "export")) == []


@pytest.mark.parametrize("scheme", ["tcp", "ssh", "http"])
def test_in_a_context_of_docker(packed: Gap, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    folder = packed.folder / "docker"
    meta = folder / "contexts" / "meta" / hashlib.sha256(b"far").hexdigest() / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"Name": "far", "Endpoints": {"docker": {"Host": f"{scheme}://{LOGIN}"}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    done = packed.offline("load", packed.stick / "stack-0001", "--to", "docker", "--json", "--debug", code=18)
    assert leaks(packed, done, packed.offline("audit", "log"), but=(meta,)) == []
    assert "context far" in done.err


def test_in_the_names_of_people(packed: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who became this user is a claim of the environment, and stands in records and receipts."""
    monkeypatch.setattr("airgap.account.LOGIN_UID", packed.folder / "none")
    monkeypatch.setenv("SUDO_USER", LOGIN)
    done = packed.offline("load", packed.stick / "stack-0001", "--to", "oci:out", "--json")
    shown = packed.offline("receipt", "show", done.json["receipt"])
    assert leaks(packed, done, shown, packed.offline("audit", "report", "--json")) == []
    assert "user:***@host.example" in shown.out


def test_in_the_place_of_the_home(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(gap.folder)
    side = Side(Path(f"https://{LOGIN}"), gap.online.capture)
    for words in (("init", "--owner", "a", "--site", "b"), ("audit", "log")):
        assert leaks(gap, side(*words, "--debug", code=2)) == []


PAIR = base64.b64encode(f"user:{SECRET}".encode()).decode()
CONFIGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "auth": (json.dumps({"auths": {"HOST": {"auth": PAIR}}}), (SECRET, PAIR)),
    "password": (json.dumps({"auths": {"HOST": {"username": "user", "password": SECRET}}}), (SECRET, PAIR)),
    "identity token": (json.dumps({"auths": {"HOST": {"identitytoken": SECRET}}}), (SECRET,)),
    "registry token": (json.dumps({"auths": {"HOST": {"registrytoken": SECRET}}}), (SECRET,)),
    "not base64": (json.dumps({"auths": {"HOST": {"auth": f"user:{SECRET}"}}}), ()),
    "cut off": (json.dumps({"auths": {"HOST": {"auth": "x", "password": SECRET}}})[:-2], ()),
    "another type": (json.dumps({"auths": {"HOST": {"auth": [SECRET]}}}), ()),
    "keys twice": (f'{{"auths": {{"HOST": {{"password": "{SECRET}", "password": "{SECRET}"}}}}}}', ()),
    "helper": (json.dumps({"credHelpers": {"HOST": f"https://{LOGIN}"}}), ()),
}
"""Docker's config.json, and what the registry was sent of it and repeats."""


@pytest.mark.parametrize(("text", "sent"), CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("bearer", [False, True], ids=["Basic", "Bearer"])
def test_in_the_logins_of_docker(
    packed: Gap, monkeypatch: pytest.MonkeyPatch, text: str, sent: tuple[str, ...], bearer: bool
) -> None:
    """The registry refuses, and repeats what it was sent."""
    forms = [*sent, *(quote(each, safe="") for each in sent), *(each.replace("/", "\\/") for each in sent)]
    body = f'{{"errors":[{{"code":"DENIED","message":"you sent {" and ".join(forms)}"}}]}}'.encode()
    with FakeRegistry() as registry:
        folder = packed.folder / "docker"
        folder.mkdir()
        (folder / "config.json").write_text(text.replace("HOST", registry.host))
        monkeypatch.setenv("DOCKER_CONFIG", str(folder))
        if bearer:
            registry.require_bearer({"user": SECRET})
        else:
            registry.require_basic("user", SECRET)
        registry.fault(path="/token", status=403, body=body)
        registry.fault(method="POST", status=403, body=body)
        registry.fault(method="PUT", status=403, body=body)
        bundle = packed.stick / "stack-0001"
        done = packed.offline(
            "load", bundle, "--to", f"registry:{registry.host}", "--json", "--debug", code=18
        )
    assert leaks(packed, done, packed.offline("audit", "log"), but=(folder / "config.json",)) == []


SENT = {
    "redirect with a login": {"location": f"http://{LOGIN}/x"},
    "redirect with a signature": {"location": f"http://127.0.0.1:1/x?X-Amz-Signature={SECRET}"},
    "redirect to something else": {"location": f"ftp://{LOGIN}/x"},
    "redirect out of TLS": {"location": f"http://example.invalid/x?token={SECRET}"},
}


@pytest.mark.parametrize("headers", SENT.values(), ids=SENT)
def test_in_a_redirect(gap: Gap, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str | None]) -> None:
    monkeypatch.setattr("airgap.endpoints.registry.session.backoff", lambda *_: 0)
    with FakeRegistry() as registry:
        registry.add("api", "1", API)
        registry.fault(method="GET", path="/blobs/", status=307, body=b"", headers=headers)
        manifest = gap.manifest(f"{registry.host}/api:1")
        done = gap.online("pack", manifest, "--to", gap.stick, "--json", "--debug", code=18)
    assert leaks(gap, done, gap.online("audit", "log")) == []


REALMS = [f"http://{LOGIN}/t", f"http://127.0.0.1:1/t?token={SECRET}", f"file://{LOGIN}"]


@pytest.mark.parametrize("realm", REALMS)
def test_in_the_realm_of_a_token_service(gap: Gap, monkeypatch: pytest.MonkeyPatch, realm: str) -> None:
    monkeypatch.setattr("airgap.endpoints.registry.session.backoff", lambda *_: 0)
    with FakeRegistry() as registry:
        registry.add("api", "1", API)
        registry.require_bearer({"user": SECRET})
        registry.challenge = f'Bearer realm="{realm}",service="fake"'
        manifest = gap.manifest(f"{registry.host}/api:1")
        done = gap.online("pack", manifest, "--to", gap.stick, "--json", "--debug", code=18)
    assert leaks(gap, done, gap.online("audit", "log")) == []


@pytest.mark.parametrize(
    "form", [f"http://user:{SECRET.replace('/', '%2F')}@127.0.0.1:1", f"http://user:{SECRET}@[x"]
)
def test_in_the_address_of_a_proxy(gap: Gap, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """By convention a login may be there: it is used, and not shown."""
    monkeypatch.setattr("airgap.endpoints.registry.session.backoff", lambda *_: 0)
    monkeypatch.setenv("HTTPS_PROXY", form)
    manifest = gap.manifest("registry.invalid/api:1")
    code = 2 if "[x" in form else 18
    done = gap.online("pack", manifest, "--to", gap.stick, "--json", "--debug", code=code)
    assert leaks(gap, done, gap.online("audit", "log")) == []


# -- answers


def test_in_an_answer(packed: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    class Typed:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return f"https://{LOGIN}/stick\n"

    monkeypatch.setattr("sys.stdin", Typed())
    with pytest.raises(asking.UsageError, match="a password or token in the answer") as caught:
        asking.next_volume(Wanted("stack-0001", 1, 2, packed.stick))
    assert SECRET not in str(caught.value)


def test_the_passphrase_is_nowhere(packed: Gap) -> None:
    done = packed.online("sign", packed.stick / "stack-0001", "--yes", "--debug")
    shown = packed.online("audit", "export", "--json")
    kept = [
        path for path in packed.folder.rglob("*") if path.is_file() and b"correct horse" in path.read_bytes()
    ]
    assert kept == []
    assert "correct horse" not in done.out + done.err + shown.out
