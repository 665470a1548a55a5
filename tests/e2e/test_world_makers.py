"""Archives and layouts as real tools write them: each is locked as a person would write it, and packed.

The matrix of makers says what was in the file and what came out: the digest of the manifest where the maker
kept the registry's, and the image ID where it made a manifest of its own.
"""

import gzip
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.e2e.airgap import Gap, make_gap, manifest_of
from tests.e2e.corpus import push
from tests.support.containerds import RealContainerd, RealPodman
from tests.support.engines import Engine
from tests.support.images import make_index, simple_image
from tests.support.parts import require_tool, run
from tests.support.registries import RealRegistry
from tests.world.table import Kind, observed, row

APP, WEB = simple_image("app"), simple_image("web")
MULTI = make_index([simple_image("multi"), simple_image("multi-arm", platform="linux/arm64")])
IMAGES = {"acme/app:1": APP, "acme/web:1": WEB, "acme/multi:1": MULTI}
BOTH = "linux/amd64, linux/arm64"


@dataclass
class Bench:
    """What makers wrote, and what `airgap` says of it."""

    gap: Gap
    host: str
    folder: Path
    forms: dict[str, tuple[Path, list[str]]] = field(default_factory=dict)
    """By line of the matrix: the file or folder, and the digests that were locked in it."""

    def __post_init__(self) -> None:
        self.app, self.web, self.multi = (f"{self.host}/{name}" for name in IMAGES)
        self.app_digest = f"{self.host}/acme/app@{APP.descriptor.digest}"

    def path(self, line: str) -> Path:
        return self.folder / re.sub("[^A-Za-z0-9]+", "-", line)

    def lock(self, line: str, write: Callable[[Path], Any], more: str = "", code: int = 0) -> Any:
        """Let a maker write, and lock what it wrote with an item that names only the file, and `more`."""
        path = self.path(line)
        write(path)
        manifest = self.folder / "lock.yaml"
        manifest.write_text(manifest_of(item(path, more)))
        answer = self.gap.online("lock", manifest, code=code)
        if code:
            return json.loads(answer.out)["error"] if answer.out else answer.err
        images = answer.json["images"]
        self.forms[line] = path, list(dict.fromkeys(image["digest"] for image in images))
        return answer.json

    def named(self, line: str, write: Callable[[Path], Any], *names: str) -> None:
        """A form whose images all have their names."""
        locked = self.lock(line, write)
        assert {image["reference"] for image in locked["images"]} == set(names), line
        assert locked["left_out"] == [], line

    def unnamed(self, line: str, write: Callable[[Path], Any]) -> None:
        """A form with one image that has no name: `as` is enough."""
        assert "none of the images has a name" in str(self.lock(line, write, code=10)), line
        shutil.rmtree(self.path(line)) if self.path(line).is_dir() else self.path(line).unlink()
        assert len(self.lock(line, write, "as: made/one:1")["images"]) == 1, line

    def pack(self) -> None:
        """Pack all forms, each image under a name of its own, and compare with the matrix."""
        items, names = [], {}
        for number, (line, (path, digests)) in enumerate(self.forms.items()):
            for place, digest in enumerate(digests):
                names[f"docker.io/made/form{number}:{place}"] = line, digest
                items.append(item(path, f'digest: "{digest}", as: "made/form{number}:{place}"'))
        bundle = self.gap.pack(manifest_of(*items))
        statement = json.loads((bundle / "statement.json").read_text())
        packed = {record["as"]: record for record in statement["predicate"]["images"]}
        cells: dict[str, dict[str, list[str]]] = {}
        for name, (line, digest) in names.items():
            cell = cells.setdefault(line, {"before": [], "after": []})
            cell["before"].append(known(digest, packed[name]))
            cell["after"].append(known(packed[name]["digest"], packed[name]))
        for line, cell in cells.items():  # Docker saves images in any order, and lists the first
            texts = {column: ", ".join(sorted(texts)) for column, texts in cell.items()}
            if " ID ID" in line or "the latter" in line:
                texts = {column: text.replace(" (repacked)", "") for column, text in texts.items()}
            observed("makers", line, texts)


def item(path: Path, more: str) -> str:
    kind = "oci" if path.is_dir() else "archive"
    return f'{{{kind}: "{path}"{", " if more else ""}{more}}}'


def known(digest: str, record: dict[str, Any]) -> str:
    """The digest, where it is the registry's; else the image ID, which no maker changes."""
    if digest in {str(image.descriptor.digest) for image in IMAGES.values()}:
        return f"manifest {digest[7:19]}"
    if record["kind"] == "artifact":
        return "attachment"
    [platform] = record["platforms"]
    repacked = " (repacked)" if digest == record["digest"] and "repacked" in record["source"] else ""
    return f"image ID {platform['config_digest'][7:19]}{repacked}"


@pytest.fixture
def bench(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    registry: RealRegistry,
) -> Bench:
    push(registry, IMAGES)
    (tmp_path / "made").mkdir()
    (tmp_path / "auth.json").write_text("{}")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))  # podman 4 wants one that exists
    return Bench(make_gap(tmp_path, capsys), registry.host, tmp_path / "made")


def packed_by(write: Callable[[Path], Any], form: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """As when the output of a tool goes through a pipe to gzip or zstd."""

    def both(path: Path) -> None:
        write(path)
        path.write_bytes(form(path.read_bytes()))

    return both


def pulled(engine: Engine, *names: str) -> list[str]:
    for name in names:
        engine.docker("pull", "--quiet", name)
    return [engine.inspect(name)["Id"] for name in names]


def test_docker_20(bench: Bench, docker20: Engine) -> None:
    app, web = bench.app, bench.web
    app_id, _ = pulled(docker20, app, web)

    def save(*words: str) -> Callable[[Path], Any]:
        return lambda path: docker20.docker("save", "-o", path, *words)

    bench.named("docker 20.10 save NAME", save(app), app)
    bench.named("docker 20.10 save NAME NAME", save(app, web), app, web)
    bench.unnamed("docker 20.10 save ID", save(app_id))
    locked = bench.lock("docker 20.10 save NAME ID", save(web, app_id))
    assert [left["digest"] for left in locked["left_out"]] == [app_id]
    bench.named("docker 20.10 save NAME, gzip", packed_by(save(app), gzip.compress), app)
    bench.pack()


@pytest.mark.parametrize("store", ["classic", "containerd"])
@row(
    Kind.ARCHIVES,
    "Docker 28.5, classic store",
    "`docker save ID ID` and `docker save NAME ID` list the first image only in index.json, all in manifest.json",
    "measured",
    "all are found; those without a name are picked by `digest:` and named by `as:`",
)
def test_docker_28(bench: Bench, store: str, request: pytest.FixtureRequest) -> None:
    engine: Engine = request.getfixturevalue("docker28c" if store == "containerd" else "docker28")
    app, web = bench.app, bench.web
    app_id, web_id = pulled(engine, app, web)
    maker = f"docker 28 ({store}) save"

    def save(*words: str) -> Callable[[Path], Any]:
        return lambda path: engine.docker("save", "-o", path, *words)

    bench.named(f"{maker} NAME", save(app), app)
    bench.named(f"{maker} NAME NAME", save(app, web), app, web)
    bench.unnamed(f"{maker} ID", save(app_id))
    bench.unnamed(f"{maker} NAME@DIGEST", save(bench.app_digest))
    for number, image_id in enumerate((app_id, web_id)):
        line = f"{maker} ID ID, image {number + 1}"
        bench.lock(line, save(app_id, web_id), f'digest: "{image_id}", as: "made/x:{number}"')
    locked = bench.lock(f"{maker} NAME ID", save(web, app_id))
    assert [image["reference"] for image in locked["images"]] == [web]
    [left] = locked["left_out"]
    assert "no name" in left["reason"]
    bench.lock(f"{maker} NAME ID, the latter", save(web, app_id), f'digest: "{app_id}", as: "made/x:1"')
    if store == "containerd":
        bench.named(f"{maker} NAME, zstd", packed_by(save(app), zstandard.compress), app)
    bench.pack()


@row(
    Kind.ARCHIVES,
    "containerd 1.6 and 2.x",
    "`ctr images export NAME@DIGEST` writes `@sha256:…` alone as ref.name",
    "measured",
    "the name is that of io.containerd.image.name",
)
@row(
    Kind.ARCHIVES,
    "containerd with CRI (Kubernetes nodes)",
    "each image of namespace k8s.io is there as NAME:TAG, NAME@DIGEST and as sha256:ID, and all are exported",
    "measured",
    "the first two are carried; a bare ID names nothing, and hides nothing else",
)
def test_ctr(bench: Bench, containerd: RealContainerd, request: pytest.FixtureRequest) -> None:
    version = request.node.callspec.params["containerd"].removeprefix("containerd").replace("16", "1.6")
    space = f"makers-{os.urandom(4).hex()}"
    ctr = partial(containerd.ctr, space, "images")
    for name in (bench.app, bench.web):
        ctr("pull", "--plain-http", name)
    ctr("pull", "--plain-http", "--all-platforms", bench.multi)
    ctr("tag", bench.app, bench.app_digest)
    ctr("tag", bench.app, str(APP.config))

    def export(*words: str) -> Callable[[Path], Any]:
        options = [word for word in words if word.startswith("--")]
        if version == "2":
            options.append("--local")  # the other way, ctr 2 may end before all is written
        return lambda path: ctr("export", *options, path, *(word for word in words if word not in options))

    maker = f"ctr {version} images export"
    bench.named(f"{maker} NAME", export(bench.app), bench.app)
    bench.named(f"{maker} NAME@DIGEST", export(bench.app_digest), bench.app_digest)
    bench.named(
        f"{maker}, all of k8s.io", export("--all-platforms", *containerd.names(space)),
        bench.app, bench.app_digest, bench.web, bench.multi,
    )  # fmt: skip
    bench.named(f"{maker} --platform", export("--platform=linux/arm64", bench.multi), bench.multi)
    bench.named(f"{maker} --all-platforms", export("--all-platforms", bench.multi), bench.multi)
    bench.pack()


@row(
    Kind.ARCHIVES,
    "podman 4 and 5",
    "`podman save` by ID writes archives and folders without any name, `--format docker-dir` never has one",
    "measured",
    "`as:` names the image",
)
def test_podman(bench: Bench, podman: RealPodman, request: pytest.FixtureRequest) -> None:
    version = request.node.callspec.params["podman"].removeprefix("podman")
    app, web = bench.app, bench.web
    for name in (app, web):
        podman.podman("pull", "--quiet", "--tls-verify=false", name)
    app_id = podman.inspect(app)["Id"]

    def save(*words: str) -> Callable[[Path], Any]:
        return lambda path: podman.podman("save", "--quiet", "-o", str(path), *words)

    maker = f"podman {version} save"
    for form in ("docker-archive", "oci-archive", "oci-dir"):
        bench.named(f"{maker} --format {form} NAME", save("--format", form, app), app)
        bench.unnamed(f"{maker} --format {form} ID", save("--format", form, app_id))
    bench.unnamed(f"{maker} --format docker-dir NAME", save("--format", "docker-dir", app))
    bench.named(f"{maker} -m NAME NAME", save("-m", app, web), app, web)
    locked = bench.lock(f"{maker} -m NAME ID", save("-m", web, app_id))
    assert [left["digest"] for left in locked["left_out"]] == [f"sha256:{app_id}"]
    bench.pack()


@row(
    Kind.ARCHIVES,
    "skopeo 1.22",
    "`skopeo copy … oci:DIR`, `oci-archive:` and `docker-archive:` without a tag, and `dir:`, write no name",
    "measured",
    "`as:` names the image; `oci: DIR` reads a `dir:` folder too",
)
def test_skopeo(bench: Bench, sid) -> None:
    def copy(target: str, name: str, *words: str, tag: str = "") -> Callable[[Path], Any]:
        options = ("--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", *words)
        return lambda path: sid("skopeo", *options, f"docker://{name}", f"{target}:{path}{tag}")

    for target in ("oci", "oci-archive", "docker-archive", "dir"):
        bench.unnamed(f"skopeo {target}:PATH", copy(target, bench.app))
    for target in ("oci", "oci-archive"):
        bench.unnamed(f"skopeo {target}:PATH:TAG", copy(target, bench.app, tag=":1"))
    bench.named("skopeo oci:PATH:NAME", copy("oci", bench.app, tag=f":{bench.app}"), bench.app)
    bench.named(
        "skopeo docker-archive:PATH:NAME", copy("docker-archive", bench.app, tag=f":{bench.app}"), bench.app
    )
    bench.unnamed("skopeo --all dir:PATH", copy("dir", bench.multi, "--all"))
    bench.pack()


@row(
    Kind.ARCHIVES,
    "crane 0.20",
    "`crane pull NAME@DIGEST` writes the tag `i-was-a-digest`",
    "measured",
    "that is not a name: `as:` names the image",
)
@row(
    Kind.ARCHIVES,
    "crane 0.20",
    "`crane pull --format=oci` writes a layout without names",
    "measured",
    "`as:` names the image, and with `--annotate-ref` it has its own",
)
def test_crane(bench: Bench, sid) -> None:
    def pull(name: str, *words: str) -> Callable[[Path], Any]:
        return lambda path: sid("crane", "pull", "--insecure", *words, name, path)

    bench.named("crane pull NAME", pull(bench.app), bench.app)
    bench.unnamed("crane pull NAME@DIGEST", pull(bench.app_digest))
    bench.named("crane pull --format=legacy", pull(bench.app, "--format=legacy"), bench.app)
    bench.unnamed("crane pull --format=oci", pull(bench.app, "--format=oci"))
    bench.unnamed("crane pull --format=oci, two platforms", pull(bench.multi, "--format=oci"))
    annotated = ("--format=oci", "--annotate-ref")
    bench.named("crane pull --format=oci --annotate-ref", pull(bench.app, *annotated), bench.app)
    line = "crane pull --format=oci --annotate-ref NAME@DIGEST"
    bench.named(line, pull(bench.app_digest, *annotated), bench.app_digest)
    bench.pack()


@row(
    Kind.ARCHIVES,
    "ORAS 1.3",
    "`oras cp -r --to-oci-layout` and `oras backup` put what refers to an image beside it, without names",
    "measured",
    "it is carried with its image, and named as from a registry",
)
def test_oras(bench: Bench, sid) -> None:
    def cp(name: str, *words: str, tag: str = "") -> Callable[[Path], Any]:
        return lambda path: sid(
            "oras", "cp", *words, "--from-plain-http", "--to-oci-layout", name, f"{path}{tag}"
        )

    def backup(path: Path) -> None:
        made = path.with_suffix(".tar")
        sid("oras", "backup", "--plain-http", "--include-referrers", "--output", made, bench.app)
        made.rename(path)

    bench.unnamed("oras cp --to-oci-layout PATH:TAG", cp(bench.app, tag=":1"))
    bench.unnamed("oras cp --to-oci-layout PATH", cp(bench.app_digest))
    (bench.folder / "sbom.json").write_text('{"sbom":1}')
    attach = f"oras attach --plain-http --artifact-type example/sbom {bench.app} sbom.json:application/json"
    sid("sh", "-ec", f"cd {bench.folder}; {attach}")
    for line, write in {"oras cp -r": cp(bench.app, "-r", tag=":1"), "oras backup": backup}.items():
        locked = bench.lock(f"{line}, with an SBOM", write, "as: made/oras:1")
        image, sbom = locked["images"]
        assert image["digest"] == str(APP.descriptor.digest)
        assert sbom["reference"] == f"docker.io/made/oras@{sbom['digest']}"
    bench.pack()


@row(
    Kind.ARCHIVES,
    "cosign 3.1",
    "`cosign save` writes an image and its signatures without names, told apart by an annotation `kind`",
    "measured",
    "the signature is carried under the tag that it has in a registry",
)
def test_cosign_save(bench: Bench, sid) -> None:
    sid("sh", "-ec", f"cd {bench.folder}; cosign generate-key-pair", env={"COSIGN_PASSWORD": ""})
    sign = ("--new-bundle-format=false", "--use-signing-config=false", "--tlog-upload=false")
    key = ("--key", bench.folder / "cosign.key", "--allow-http-registry")
    sid("cosign", "sign", "--yes", *key, *sign, bench.app_digest, env={"COSIGN_PASSWORD": ""})

    def save(path: Path) -> None:
        sid("cosign", "save", "--allow-http-registry", "--dir", path, bench.app)

    image, signature = bench.lock("cosign save", save, "as: made/signed:1")["images"]
    assert image["digest"] == str(APP.descriptor.digest)
    tag = f"sha256-{APP.descriptor.digest.hex}.sig"
    assert signature["reference"] == f"docker.io/made/signed:{tag}@{signature['digest']}"
    bench.pack()


def test_umoci_and_buildah(bench: Bench, skopeo) -> None:
    umoci, buildah = require_tool("umoci"), require_tool("buildah")

    def tagged(path: Path) -> None:
        skopeo("copy", "--quiet", "--src-tls-verify=false", f"docker://{bench.app}", f"oci:{path}:1")
        run(umoci, "tag", "--image", f"{path}:1", bench.web)
        run(umoci, "rm", "--image", f"{path}:1")

    bench.named("umoci tag", tagged, bench.web)
    store = ("--root", bench.folder / "root", "--runroot", bench.folder / "run", "--storage-driver", "vfs")
    run(buildah, *store, "pull", "--quiet", "--tls-verify=false", bench.app)

    def pushed(target: str, tag: str = "") -> Callable[[Path], Any]:
        return lambda path: run(buildah, *store, "push", "--quiet", bench.app, f"{target}:{path}{tag}")

    bench.unnamed("buildah push oci:PATH", pushed("oci"))
    bench.unnamed("buildah push oci-archive:PATH", pushed("oci-archive"))
    bench.named("buildah push docker-archive:PATH:NAME", pushed("docker-archive", f":{bench.app}"), bench.app)
    bench.unnamed("buildah push dir:PATH", pushed("dir"))
    bench.pack()
