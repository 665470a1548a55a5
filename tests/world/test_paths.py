"""What people type who know other tools: every wrong path, target, registry and key is named, with the remedy."""

import re
import shlex
from dataclasses import dataclass

import pytest

from tests.cli.conftest import Gap, gap, passphrase, sites  # noqa: F401 - fixtures
from tests.support.images import archive_of, simple_image
from tests.support.things import make_thing
from tests.world.table import Kind, Row, replays


@dataclass(frozen=True)
class Thing:
    """A thing given to a command, which is `{}` in its words; and what the answer holds."""

    thing: str
    words: str
    what: str
    hint: str


def paths(who: str, does: str, reported: str, answer: str, case: Thing) -> tuple[Row, Thing]:
    return Row(Kind.PATHS, who, does, reported, answer), case


PATHS = {
    "docker save to verify": paths(
        "docker save", "people load image archives with whatever command is at hand, and are told of a file that is missing inside",
        "moby/moby#10429", "it is an archive of images; a manifest with `- archive:` carries them",
        Thing("docker save", "verify {}", "not a bundle: {}, got an archive of images (docker save)", "list `- archive: {}` in a manifest"),
    ),
    "docker save to load": paths(
        "docker load", "users expect `load` to take the tar that `docker save` wrote",
        "moby/moby#34926", "`airgap load` names the archive and how to make a bundle",
        Thing("docker save of a containerd store", "load {} --to oci:out", "not a bundle: {}, got an archive of images", "list `- archive: {}`"),
    ),
    "docker export": paths(
        "docker export", "export and save both write a tar, and are taken for each other",
        "moby/moby#34926", "a container's file system is distinguished from an image; `docker save` is named",
        Thing("docker export", "verify {}", "got the file system of a container (docker export)", "`docker save IMAGE` writes one"),
    ),
    "OCI archive": paths(
        "crane push", "an OCI archive of BuildKit is refused for a manifest.json that is not in it",
        "google/go-containerregistry#2109", "an OCI archive is recognised, with the way to carry it",
        Thing("OCI archive", "receive {} --into out", "not a bundle: {}, got an archive of images (OCI)", "list `- archive: {}`"),
    ),
    "layout": paths(
        "oras", "the folder of an OCI layout is parsed as a registry's name",
        "oras-project/oras#1304", "an OCI image layout is recognised; `airgap serve` and `- oci:` are named",
        Thing("OCI layout", "verify {}", "not a bundle: {}, got an OCI image layout", "`airgap serve {}` serves it"),
    ),
    "dir:": paths(
        "podman load", "a folder or file is tried as four formats, and four reasons are printed",
        "containers/podman#15963", "its one form is named",
        Thing("dir: of skopeo", "inspect {}", "got an image in skopeo's and podman's dir: form", "list `- oci: {}` with `as: NAME:TAG` in a manifest"),
    ),
    "gzip": paths(
        "ctr images import", "a gzip'd image archive is answered with `invalid tar header`",
        "containerd/containerd#9981", "a gzip tar is recognised, with the command that unpacks it",
        Thing("gzip'd tar", "verify {}", "not a bundle: {}, got a tar, compressed with gzip", "list `- archive: {}` in a manifest"),
    ),
    "xz": paths(
        "docker load", "an xz'd archive fails for a program that is missing",
        "moby/moby#9327", "the compression is named",
        Thing("xz", "verify {}", "not a bundle: {}, got a file, compressed with xz", "unpack it first"),
    ),
    "zstd": paths(
        "RKE2", "its images come as .tar.zst, and are given to every command",
        "k3s-io/k3s#11557", "the compression is named",
        Thing("zstd", "load {} --to oci:out", "not a bundle: {}, got a file, compressed with zstd", "unpack it first"),
    ),
    "Compose": paths(
        "Docker Compose", "users want to save all images of a Compose file in one go",
        "docker/compose#5288", "a Compose file is named, with the command that makes a manifest of it",
        Thing("Compose", "pack {} --to out", "not a manifest: {}, got a Compose file", "airgap discover {} -o stack.yaml"),
    ),
    "Compose to lock": paths(
        "Docker Compose", "there is no way to list the images of a file whose containers do not run",
        "docker/compose#7517", "`lock` names the Compose file and the way to a manifest",
        Thing("Compose", "lock {}", "not a manifest: {}, got a Compose file", "airgap discover {} -o stack.yaml"),
    ),
    "Kubernetes": paths(
        "Zarf", "YAML of another kind is answered with the Go types that it did not fit",
        "zarf-dev/zarf#1809", "a Kubernetes file is named",
        Thing("Kubernetes", "plan {}", "not a manifest: {}, got a Kubernetes file", "airgap discover {} -o stack.yaml"),
    ),
    "Helm": paths(
        "Helm", "charts are given to tools that want images",
        "mesosphere/mindthegap#731", "a chart is named, with the command that makes a manifest of it",
        Thing("Helm chart's folder", "pack {} --to out", "not a manifest: {}, got a Helm chart", "airgap discover {} -o stack.yaml"),
    ),
    "kustomization": paths(
        "Kustomize", "a kustomization has `images:` at its top, as a manifest has",
        "kubectl.docs.kubernetes.io, kustomization, images", "it is not mistaken for a manifest",
        Thing("kustomization", "lock {}", "not a manifest: {}, got a kustomization", "airgap discover {} -o stack.yaml"),
    ),
    "Hauler": paths(
        "Hauler", "its manifests list images under `spec`",
        "hauler-dev/hauler, testdata/hauler-manifest.yaml", "a Hauler manifest is named",
        Thing("Hauler", "pack {} --to out", "not a manifest: {}, got a Hauler manifest", "airgap discover {} -o stack.yaml"),
    ),
    "Zarf": paths(
        "Zarf", "its packages list images under `components`",
        "zarf-dev/zarf#3917", "a Zarf package definition is named",
        Thing("Zarf", "pack {} --to out", "not a manifest: {}, got a Zarf package definition", "airgap discover {} -o stack.yaml"),
    ),
    "list of images": paths(
        "k3s", "image lists are text files of one name a line",
        "k3s-io/docs#430", "a list of names is recognised, with the command that makes it a manifest",
        Thing("list of images", "pack {} --to out", "not a manifest: {}, got a list of image names", "airgap discover {} -o stack.yaml"),
    ),
    "lock": paths(
        "lock files", "both files lie side by side, and the wrong one is given",
        "measured", "the manifest is named",
        Thing("lock", "pack {} --to out", "not a manifest: {}, got a lock", "name the manifest of this lock: {folder}/stack.yaml"),
    ),
    "kit": paths(
        "a medium with a kit and bundles", "the kit's folder is given to `verify`",
        "measured", "a kit is named, with its own command",
        Thing("kit", "verify {}", "not a bundle: {}, got a kit", "`airgap kit verify {} --into DIR`"),
    ),
    "medium": paths(
        "a mounted medium", "its root is given in the place of the bundle on it",
        "measured", "the only bundle for this site is taken; of several, the commands are shown",
        Thing("root of a medium", "load {} --to oci:out", "there are several bundles: {}, want one bundle, got other-0007, stack-0001", "`airgap load {}/stack-0001 --to oci:out`"),
    ),
    "mount point": paths(
        "a medium that is not mounted", "its mount point is an empty folder",
        "measured", "the empty folder is named, with the question",
        Thing("empty folder", "verify {}", "not a bundle: {}, got an empty folder", "is the medium mounted there?"),
    ),
    "volumes": paths(
        "volumes in one folder", "the folder is given in the place of the volumes",
        "measured", "the volumes of one bundle are taken; of several bundles, the commands are shown",
        Thing("folder of volumes", "verify {}", "there are several bundles: {}", "`airgap verify {}/stack-0001.v1`"),
    ),
    "private key": paths(
        "cosign", "a key of the wrong half is answered with `invalid pem block`",
        "sigstore/cosign#1051", "a private key is named, and must not be copied",
        Thing("private key of cosign", "trust install {}", "not a trust root: {}, got a private key", "never copy it"),
    ),
    "certificate": paths(
        "cosign", "a certificate is given where a key is wanted",
        "sigstore/cosign#3836", "a certificate is named, and the option that takes one",
        Thing("certificate", "trust install {}", "not a trust root: {}, got a certificate", "--ca-file {}"),
    ),
    "public key": paths(
        "people who exchange keys", "the public key is installed in the place of the trust root",
        "measured", "a public key is named, with how keys are given",
        Thing("public key", "trust install {}", "not a trust root: {}, got a public key", "`airgap trust add`"),
    ),
    "receipt": paths(
        "receipts that come back", "a receipt is given to `verify`",
        "measured", "a receipt is named, with the commands for it",
        Thing("receipt", "verify {}", "not a bundle: {}, got a receipt", "`airgap receipt import {}`"),
    ),
    "root to receipt": paths(
        "files that come back", "a trust root is given to `receipt import`",
        "measured", "a trust root is named, with the command for it",
        Thing("trust root", "receipt import {}", "not a receipt: {}, got a trust root", "`airgap trust install {}`"),
    ),
    "inventory": paths(
        "inventories", "the list of hosts is given as a manifest",
        "measured", "an inventory is named, with the option that takes it",
        Thing("inventory", "pack {} --to out", "not a manifest: {}, got an inventory of hosts", "--inventory {}"),
    ),
    "manifest as inventory": paths(
        "inventories", "a manifest is given as an inventory",
        "measured", "a manifest is named",
        Thing("manifest", "send {folder} --inventory {}", "not an inventory of hosts: {}, got a manifest", "`airgap pack {} --to DIR`"),
    ),
    "envelope": paths(
        "bundles in a file manager", "a file inside the bundle is given in its place",
        "measured", "the folder is named",
        Thing("envelope of a bundle", "verify {}", "not a bundle: {}, got the envelope of a bundle", "name the folder that holds it: {folder}"),
    ),
    "ledger": paths(
        "ledgers", "the ledger is given to `receipt show`",
        "measured", "an audit ledger is named, with the commands for it",
        Thing("ledger", "receipt show {}", "not a receipt: {}, got an audit ledger", "`airgap audit verify`"),
    ),
}  # fmt: skip


@replays(PATHS)
def test_a_path_is_named(case: Thing, gap: Gap) -> None:  # noqa: F811
    folder = gap.folder / "things"
    folder.mkdir()
    path = make_thing(case.thing, folder)

    def filled(text: str) -> str:
        return text.replace("{folder}", str(folder)).replace("{}", str(path))

    words = shlex.split(filled(case.words))
    side = gap.online if words[0] in ("lock", "plan", "pack") else gap.offline
    before = side.records()
    done = side(*words, code=2)
    error, hint = done.err.splitlines()
    assert error.startswith("error: ")
    assert filled(case.what) in error
    assert hint.startswith("hint: ")
    assert filled(case.hint) in hint
    assert done.out == ""
    assert side.records() == before


TARGETS = {
    "registry://": ("people who know URLs", "a registry is written as a URL of its own kind", "defenseunicorns/uds-cli#55", "registry://h:5000/x", "registry:h:5000/x"),
    "registry:http://": ("docker/buildx", "`http://` before a registry's name is what makes it work elsewhere", "docker/buildx#1642", "registry:http://h:5000", "registry:h:5000"),
    "https://": ("skopeo", "`https://` before a registry's name", "containers/skopeo#66", "https://harbor.example/x", "registry:harbor.example/x"),
    "host and port": ("docker push", "a registry is named by host and port alone", "distribution/distribution#1929", "127.0.0.1:5500", "registry:127.0.0.1:5500"),
    "host": ("docker push", "a registry is named by its host and a prefix", "goharbor/harbor#12267", "harbor.example/mirror", "registry:harbor.example/mirror"),
    "docker://": ("skopeo", "`docker://` is a registry, not an engine", "containers-transports(5)", "docker://harbor.example/x/app:1", "registry:harbor.example/x/app"),
    "docker-daemon:": ("skopeo", "`docker-daemon:` is the engine, and takes no `//`", "containers/skopeo#303", "docker-daemon:app:1", "docker"),
    "docker-archive:": ("skopeo", "`docker-archive:FILE:NAME`", "containers/skopeo#366", "docker-archive:web.tar:app:1", "archive:web.tar"),
    "oci-archive:": ("skopeo", "`oci-archive:FILE`", "containers-transports(5)", "oci-archive:web.tar", "archive:web.tar"),
    "dir:": ("skopeo", "`dir:DIR`", "containers-transports(5)", "dir:out", "oci:out"),
    "containers-storage:": ("skopeo", "`containers-storage:` is podman's own store", "containers-transports(5)", "containers-storage:app", "podman"),
    "oci://": ("Helm, Zarf, UDS", "`oci://` is a registry there; here oci: is a folder", "defenseunicorns/uds-cli#55", "oci://out", "oci:out"),
    "a tar": ("docker save -o", "the file alone", "moby/moby#34921", "out.tar", "archive:out.tar"),
    "a folder": ("skopeo", "a folder without its transport", "Homebrew/homebrew-core#52871", "./out", "oci:./out"),
    "a socket": ("DOCKER_HOST", "the address of an engine without its kind", "stackoverflow.com/questions/62757127", "unix:///run/docker.sock", "docker:unix:///run/docker.sock"),
    "a path to a socket": ("docker", "the path of a socket without unix://", "stackoverflow.com/questions/62757127", "docker:/run/docker.sock", "docker:unix:///run/docker.sock"),
    "socket of containerd": ("nerdctl", "the socket is an option of its own, --address", "containerd/nerdctl#128", "containerd:/run/k3s/containerd/containerd.sock", "containerd, with CONTAINERD_ADDRESS=/run/k3s/containerd/containerd.sock"),
    "nothing after the colon": ("nerdctl", "the namespace of Kubernetes must be named", "containerd/nerdctl#329", "containerd:", "containerd"),
    "slip": ("every command line", "letters change places", "measured", "dcoker", "docker"),
}  # fmt: skip


@replays(
    {
        name: (
            Row(Kind.PATHS, who, does, where, f"`--to {text}` is refused: did you mean `{meant}`?"),
            (text, meant),
        )
        for name, (who, does, where, text, meant) in TARGETS.items()
    }
)
def test_a_target_is_guessed(case: tuple[str, str], gap: Gap) -> None:  # noqa: F811
    text, meant = case
    done = gap.offline("load", gap.pack(), "--to", text, code=2)
    assert done.err.startswith(f"error: not a target: {text}, want docker")
    assert done.err.endswith(f"\nhint: did you mean {meant}?\n")


KEYS = {
    "image": ("Docker Compose and Kubernetes", "an image is the value of `image:`", "convox/rack#128", "image: nginx", "write ref: nginx"),
    "name": ("Hauler", "an image is the value of `name:`", "hauler-dev/hauler, testdata/hauler-manifest.yaml", "name: nginx:1.27", "write ref: nginx:1.27"),
    "tag": ("Helm", "repository and tag are two keys of `image:`", "sonatype/nxrm3-helm-repository#53", "{ref: nginx, tag: '1.27'}", "write it in 'ref'"),
    "repository": ("Helm", "repository and tag are two keys of `image:`", "sonatype/nxrm3-helm-repository#53", "{repository: nginx, tag: '1.27'}", "write it in 'ref'"),
    "platform": ("Hauler", "the platform is one value", "hauler-dev/hauler, testdata/hauler-manifest.yaml", "{ref: nginx, platform: linux/amd64}", "did you mean 'platforms'?|write platforms: [linux/amd64]"),
    "path": ("crane push", "an image in a file is `crane push PATH`", "google/go-containerregistry#2109", "path: web.tar", "write archive: web.tar"),
    "key": ("cosign", "the key of a signature is `--key`", "sigstore/cosign#3836", "{ref: nginx, key: cosign.pub}", "write cosign-key: cosign.pub"),
    "docker-archive:": ("skopeo", "an image in an archive is `docker-archive:FILE`", "containers/skopeo#366", "docker-archive:web.tar", "write it as archive: web.tar"),
    "docker-daemon:": ("skopeo", "an image of the engine is `docker-daemon:NAME`", "containers/skopeo#303", "docker-daemon:app:1", "write {ref: app:1, source: docker}"),
    "docker://": ("skopeo", "an image in a registry is `docker://NAME`", "containers/skopeo#66", "docker://nginx", "write it without: 'nginx'"),
    "space": ("YAML", "`nginx: 1.27` is a mapping", "measured", "'nginx': '1.27'", "write it without the space: nginx:1.27"),
}  # fmt: skip


@replays(
    {
        name: (
            Row(Kind.PATHS, who, does, where, f"`- {text}` in a manifest: {hint.partition('|')[2] or hint}"),
            (text, hint),
        )
        for name, (who, does, where, text, hint) in KEYS.items()
    }
)
def test_an_entry_of_a_manifest_is_guessed(case: tuple[str, str], gap: Gap) -> None:  # noqa: F811
    text, hint = case
    done = gap.online("plan", gap.manifest(text), code=10)
    assert any(f"\nhint: {each}" in done.err for each in hint.split("|")), done.err


SHAPES = {
    "one image": ("Helm, Zarf and people", "one image is written without a list", "zarf-dev/zarf#3917", "images: nginx", "write it as a list: images: [nginx]"),
    "a mapping": ("Docker Compose", "what is listed are keys of a mapping", "convox/rack#128", "images:\n  nginx:", "begin each with a dash"),
    "no images": ("people who begin", "only the head is there", "measured", "", "- nginx:1.27` for each image"),
}  # fmt: skip


@replays(
    {
        name: (Row(Kind.PATHS, who, does, where, f"the answer shows the form: {hint}"), (text, hint))
        for name, (who, does, where, text, hint) in SHAPES.items()
    }
)
def test_the_shape_of_a_manifest_is_shown(case: tuple[str, str], gap: Gap) -> None:  # noqa: F811
    text, hint = case
    path = gap.folder / "stack.yaml"
    path.write_text(f"version: 1\nname: stack\n{text}\n")
    assert hint in gap.online("lock", path, code=10).err


REGISTRIES = {
    "a URL": ("dockerd --insecure-registry", "it is told hosts, and people write URLs", "docker/buildx#1642", ("--plain-http", "http://h.example:5000"), "did you mean --plain-http h.example:5000?"),
    "a mirror's URL": ("dockerd --registry-mirror", "it is told URLs, and the other side of it hosts", "docker/buildx#1642", ("--mirror", "https://docker.io=m.example"), "did you mean docker.io=m.example?"),
}  # fmt: skip


@replays(
    {
        name: (Row(Kind.PATHS, who, does, where, hint), (words, hint))
        for name, (who, does, where, words, hint) in REGISTRIES.items()
    }
)
def test_a_registry_is_named_by_its_host(case: tuple[tuple[str, ...], str], gap: Gap) -> None:  # noqa: F811
    words, hint = case
    done = gap.online("lock", gap.manifest("h.example:5000/app:1"), *words, code=2)
    assert hint in done.err


@pytest.mark.parametrize("words", ["verify nginx:1.27", "load ghcr.io/acme/api:1 --to oci:out"])
def test_the_name_of_an_image_is_not_a_path(words: str, gap: Gap) -> None:  # noqa: F811
    name = words.split()[1]
    done = gap.offline(*words.split(), code=2)
    assert done.err.startswith(
        f"error: no such file or folder: {name}, got an image name\nhint: `airgap pack {name} --to DIR`"
    )
    assert not re.search(r"Errno|[a-z]Error\b", done.err)


SOURCES = {
    "a layout as an archive": ("OCI layout", "{archive: %s}", "not an archive of images: %s, got an OCI image layout", "list `- oci: %s`"),
    "an archive as a layout": ("docker save", "{oci: %s}", "not an OCI image layout: %s, got an archive of images (docker save)", "list `- archive: %s`"),
    "a file system as an archive": ("docker export", "{archive: %s}", "not an archive of images: %s, got the file system of a container", "`docker save IMAGE`"),
    "a Compose file as an archive": ("Compose", "{archive: %s}", "not an archive of images: %s, got a Compose file", "airgap discover %s -o stack.yaml"),
    "an empty folder": ("empty folder", "{oci: %s}", "not an OCI image layout: %s, got an empty folder", "is the medium mounted there?"),
}  # fmt: skip


@replays(
    {
        name: (
            Row(Kind.PATHS, "Zarf", f"of many images, one that fails is not named; here {name}", "zarf-dev/zarf#813", "the wrong document is named, with what it is"),
            case,
        )
        for name, case in SOURCES.items()
    }
)  # fmt: skip
def test_among_many_the_wrong_one_is_named(case: tuple[str, str, str, str], gap: Gap) -> None:  # noqa: F811
    thing, entry, what, hint = case
    (gap.folder / "things").mkdir()
    path = str(make_thing(thing, gap.folder / "things"))
    gap.layout(**{f"app{number}": simple_image(str(number)) for number in range(8)})
    others = [f"{{oci: source, ref: 'example.com/app{number}:1'}}" for number in range(8)]
    manifest = gap.manifest(*others[:5], entry.replace("%s", path), *others[5:])
    done = gap.online("lock", manifest, code=10)
    assert f"error: {what.replace('%s', path)}" in done.err
    assert hint.replace("%s", path) in done.err


def test_a_damaged_archive_among_many_is_named(gap: Gap) -> None:  # noqa: F811
    for number in range(4):
        (gap.folder / f"{number}.tar").write_bytes(
            archive_of({f"example.com/{number}:1": simple_image(str(number))})
        )
    (gap.folder / "2.tar").write_bytes(b"junk\n")
    done = gap.online("lock", gap.manifest(*(f"{{archive: {number}.tar}}" for number in range(4))), code=10)
    assert f"{gap.folder}/2.tar" in done.err
