"""Makes small sample images as an OCI image layout.

    python3 sample_images.py FOLDER

Three images under the names `demo/web:1.0`, `demo/api:1.0` (these two share a layer) and
`demo/tool:1.0` (for two platforms). They hold text files only: they can be carried and looked
at, not run. The standard library is all that this needs.
"""

import gzip
import io
import json
import random
import sys
import tarfile
from hashlib import sha256
from pathlib import Path
from typing import Any

OCI = "application/vnd.oci.image"
CREATED = "2026-01-01T00:00:00Z"

Descriptor = dict[str, Any]


class Layout:
    """An OCI image layout that is being written; nothing in it depends on the clock or the machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images: list[Descriptor] = []
        (folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)

    def blob(self, media_type: str, content: bytes) -> Descriptor:
        """Store `content` under its digest."""
        name = sha256(content).hexdigest()
        (self.folder / "blobs" / "sha256" / name).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{name}", "size": len(content)}

    def document(self, media_type: str, value: dict[str, Any]) -> Descriptor:
        """Store `value` as JSON."""
        return self.blob(media_type, json.dumps(value, indent=2).encode())

    def image(self, architecture: str, *layers: dict[str, bytes]) -> Descriptor:
        """One image for Linux; each layer is given as its files."""
        tars = [tar(files) for files in layers]
        platform = {"architecture": architecture, "os": "linux"}
        config = {
            "created": CREATED,
            **platform,
            "config": {"Cmd": ["/bin/true"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(t).hexdigest()}" for t in tars]},
            "history": [{"created": CREATED, "created_by": "sample_images.py"} for _ in tars],
        }
        media_type = f"{OCI}.manifest.v1+json"
        manifest = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": self.document(f"{OCI}.config.v1+json", config),
            "layers": [self.blob(f"{OCI}.layer.v1.tar+gzip", gzip.compress(t, mtime=0)) for t in tars],
        }
        return {**self.document(media_type, manifest), "platform": platform}

    def index(self, *images: Descriptor) -> Descriptor:
        """One name for images of several platforms."""
        index = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": list(images)}
        return self.document(f"{OCI}.index.v1+json", index)

    def add(self, name: str, image: Descriptor) -> None:
        """Give an image its name."""
        self.images.append({**image, "annotations": {"org.opencontainers.image.ref.name": name}})

    def close(self) -> None:
        """Write the two files that make the folder a layout."""
        index = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": self.images}
        (self.folder / "index.json").write_text(json.dumps(index, indent=2))
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def tar(files: dict[str, bytes]) -> bytes:
    """Files as a tar that is the same on every run."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def main() -> None:
    """Write the sample layout."""
    layout = Layout(Path(sys.argv[1]))
    base = {"etc/os-release": b"NAME=Sample\n", "usr/lib/base.bin": random.Random(1).randbytes(2_000_000)}  # noqa: S311 - sample content, no secret
    layout.add("demo/web:1.0", layout.image("amd64", base, {"srv/index.html": b"<h1>web</h1>\n"}))
    layout.add("demo/api:1.0", layout.image("amd64", base, {"srv/api.txt": b"api\n"}))
    tools = [layout.image(name, {"bin/tool.txt": name.encode()}) for name in ("amd64", "arm64")]
    layout.add("demo/tool:1.0", layout.index(*tools))
    layout.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
