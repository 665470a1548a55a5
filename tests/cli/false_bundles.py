"""Bundles whose signer lies, and those that are judged by the receiving site."""

from datetime import timedelta

from airgap.bundle.contents import index_json
from airgap.oci.digest import Digest
from airgap.oci.documents import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from airgap.oci.reference import ImageReference
from tests.support.bundles import (
    DAY,
    MULTI,
    ONE,
    TWO,
)
from tests.support.harms import (
    CONFIG,
    IMAGES,
    JSON_BOMB,
    LAYER,
    MANIFEST,
    OTHER_CONFIG,
    PLAIN,
    PLAIN_CONFIG,
    PLAIN_LAYER,
    Case,
    broken_chain,
    config,
    descriptor,
    document,
    falling_epoch,
    forge,
    index,
    installed,
    late_root,
    layer,
    lying_sums,
    mark,
    nested,
    renamed_root,
    restate,
    revoked,
    same_key_twice,
    stranger_root,
    two_keys,
    two_of_two,
    write,
)
from tests.support.images import noise

# -- the table ---------------------------------------------------------------------------------------

WRONG = "wrong digest: "
CANONICAL = "not in canonical form"
VIEWS = "manifest.json and index.json describe different images"
JUDGED: dict[str, Case] = {
    "other destination": (restate(destinations=("plant-8", "plant-9")), 15, "want plant-8, plant-9, got plant-7"),
    "expired": (restate(expires=lambda gap: gap.now - timedelta(hours=1)), 14, "the bundle has expired"),
    "not yet valid": (restate(not_before=lambda gap: gap.now + DAY), 14, "the bundle is not valid yet"),
    "older serial": (mark(2), 14, "older than the last accepted bundle"),
    "older epoch": (mark(1, epoch=2), 14, "older than the last accepted bundle"),
    "equivocation": (mark(1), 14, "two different bundles"),
    "other epoch": (restate(epoch=2), 14, "made in another epoch"),
    "newer root": (restate(root_version=2), 13, "made under a newer trust root than this site has"),
    "root left out": (broken_chain, 13, "made under a newer trust root than this site has"),
    "root of another version": (renamed_root, 13, "wrong version of the trust root"),
    "root signed by a stranger": (stranger_root, 13, "by the keys of trust root 1"),
    "falling epoch": (falling_epoch, 13, "the epoch decreases"),
    "root that is no root": (forge("trust/2.root.json", b"{}"), 10, "2.root.json"),
    "expired root in the bundle": (late_root, 14, "the trust root has expired: trust root 2"),
    "expired root": (installed(expires=lambda gap: gap.now - DAY), 14, "the trust root has expired: trust root 1"),
    "revoked key": (revoked, 13, "signed by a revoked key (alice"),
    "one of two signatures": (installed(keys=two_keys, roles=two_of_two), 13, "too few signatures"),
    "one key twice": (same_key_twice, 13, "too few signatures"),
    "huge root": (write("trust/2.root.json", b" " * ((16 << 20) + 1)), 12, "too large"),
}  # fmt: skip


LIES: dict[str, Case] = {
    "views differ": (forge("manifest.json", b'[\n{"Config":"x","RepoTags":[],"Layers":[]}\n]\n'), 10, VIEWS),
    "no image in one view": (forge("manifest.json", b"[\n\n]\n"), 10, VIEWS),
    "one name twice in a view": (
        lambda gap: forge("manifest.json", (gap.bundle / "manifest.json").read_bytes().replace(b"two:1", b"one:1"))(gap), 10, VIEWS,
    ),
    "index not canonical": (lambda gap: gap.forge({"index.json": (gap.bundle / "index.json").read_bytes() + b" "}), 10, CANONICAL),
    "index with case twins": (
        lambda gap: gap.forge({"index.json": (gap.bundle / "index.json").read_bytes().replace(b'"manifests"', b'"Manifests":[],"manifests"')}),
        10, "'Manifests' and 'manifests'",
    ),
    "index of other images": (
        forge("index.json", index_json([(ImageReference.parse(ONE), IMAGES[ONE].descriptor)])), 10, "name different images",
    ),
    "index with another digest": (
        lambda gap: gap.forge({"index.json": index_json(
            (ImageReference.parse(name), IMAGES[TWO if name == ONE else name].descriptor) for name in (ONE, TWO, MULTI)
        )}),
        10, "index.json and the statement differ",
    ),
    "index without names": (
        lambda gap: gap.forge({"index.json": (gap.bundle / "index.json").read_bytes().replace(b"org.opencontainers", b"org.closecontainers")}),
        10, "not an image reference",
    ),
    "other layout": (forge("oci-layout", b'{"imageLayoutVersion":"2.0.0"}'), 10, "unknown layout version"),
    "other sums": (lying_sums, 10, "SHA256SUMS and the statement differ"),
    "no sums": (forge("oci-layout", None), 12, "not listed in the statement: oci-layout"),
    "unreachable blob": (forge(Digest.of(b"cargo").path, b"cargo"), 12, "a blob that no image refers to"),
    "layer left out": (forge(LAYER.path, None), 12, "neither listed nor required"),
    "config left out": (forge(CONFIG.path, None), 12, "not listed in the statement"),
    "image manifest left out": (forge(MANIFEST.path, None), 12, "not listed in the statement"),
    "blob under another's name": (
        lambda gap: gap.forge({LAYER.path: noise((gap.bundle / LAYER.path).stat().st_size, 9)}), 10, "name is not its listed digest",
    ),
    "config under another's name": (
        lambda gap: gap.forge({CONFIG.path: (gap.bundle / OTHER_CONFIG.path).read_bytes()}), 12, WRONG,
    ),
    "layers and manifests": (document(lambda value: value.update(manifests=[])), 10, "neither an image manifest nor an image index"),
    "neither": (document(lambda value: value.pop("layers")), 10, "neither an image manifest nor an image index"),
    "fsLayers too": (document(lambda value: value.update(fsLayers=[])), 10, "neither an image manifest nor an image index"),
    "manifests beside in other case": (document(lambda value: value.update(Layers=[])), 10, "'layers' and 'Layers'"),
    "duplicate key": (document(lambda value: PLAIN.raw.replace(b'"layers"', b'"layers": [], "layers"')), 10, "duplicate key"),
    "old schema": (document(lambda value: value.update(schemaVersion=1)), 10, "unsupported schemaVersion"),
    "other media type than the descriptor's": (document(lambda value: value.update(mediaType=DOCKER_MANIFEST)), 10, "mediaType differs"),
    "image as index": (document(lambda value: value.update(mediaType=OCI_INDEX), media_type=OCI_INDEX), 10, "mediaType does not fit"),
    "unknown document": (document(lambda value: value.pop("mediaType") and None, media_type="text/plain"), 10, "mediaType does not fit"),
    "depth bomb": (document(lambda _: JSON_BOMB), 10, "nested too deeply"),
    "big integer": (layer(size=2**53), 10, "integer too large"),
    "layer of two TiB": (layer(size=2 << 40), 10, "too large"),
    "path for digest": (layer(digest="sha256:../../../etc/passwd"), 10, "not a digest"),
    "upper-case digest": (layer(digest=str(PLAIN.layers[0]).upper()), 10, "not a digest"),
    "upper-case hex": (layer(digest=f"sha256:{PLAIN.layers[0].hex.upper()}"), 10, "not a digest"),
    "short digest": (layer(digest=str(PLAIN.layers[0])[:-1]), 10, "not a digest"),
    "old algorithm": (layer(digest="md5:" + "0" * 32), 10, "not a digest"),
    "digest with line feed": (layer(digest=f"{PLAIN.layers[0]}\n"), 10, "not a digest"),
    "wrong size of a layer": (layer(size=len(PLAIN_LAYER) + 1), 12, "wrong size"),
    "wrong size of a config": (document(lambda value: value["config"].update(size=3)), 12, "too large"),
    "wrong size of the image manifest": (document(lambda _: None, size=len(PLAIN.raw) + 9), 12, "wrong size"),
    "huge image manifest": (document(lambda _: None, size=5 << 20), 10, "too large"),
    "foreign layer": (layer(urls=["https://example.test/layer"]), 10, "content kept elsewhere (urls)"),
    "embedded data differ": (layer(data="ZWxzZQ=="), 10, "embedded data differs"),
    "embedded data is no data": (layer(data="%"), 10, "embedded data is not base64"),
    "text as annotations": (layer(annotations={"a": 1}), 10, "an object of strings"),
    "one layer for two": (document(lambda value: value["layers"].append(value["layers"][0])), 10, "layers and diff_ids differ in number"),
    "a digest is listed with two sizes": (
        document(lambda value: value["layers"].append({**value["layers"][0], "size": 1})), 10, "a digest is listed with two sizes",
    ),
    "config is no config": (config(lambda _: b"[]"), 10, "not a JSON object"),
    "config with twins": (config(lambda value: value.update(OS="linux")), 10, "'os' and 'OS'"),
    "config with another rootfs": (config(lambda value: value["rootfs"].update(type="zip")), 10, "unknown rootfs type"),
    "config without diff_ids": (config(lambda value: value["rootfs"].update(diff_ids=None)), 10, "layers and diff_ids differ in number"),
    "config with other diff_ids": (config(lambda value: value["rootfs"].update(diff_ids=["x"])), 10, "not a digest"),
    "config that is too large": (config(lambda value: value.update(x="y" * (5 << 20))), 10, "too large"),
    "indexes in indexes": (nested(), 10, "image indexes are nested too deeply"),
    "index of something else": (
        index(descriptor(PLAIN_LAYER), contents=(PLAIN_LAYER,)), 10, "not an image manifest",
    ),
    "index with two sizes": (
        index(descriptor(PLAIN.raw, OCI_MANIFEST), descriptor(PLAIN.raw, OCI_MANIFEST, size=1),
              contents=(PLAIN.raw, PLAIN_CONFIG, PLAIN_LAYER)),
        10, "a digest is listed with two sizes",
    ),
    "index with a bad platform": (
        index(descriptor(PLAIN.raw, OCI_MANIFEST, platform={"os": 1, "architecture": "x"}),
              contents=(PLAIN.raw, PLAIN_CONFIG, PLAIN_LAYER)),
        10, "wrong type",
    ),
}  # fmt: skip
