"""`repair`, `send` and `serve` take a medium's folder or a bundle's name, as `load` does; other small remedies."""

import shutil
from pathlib import Path

import pytest

from airgap.endpoints.server import ImageServer
from tests.cli.conftest import Gap
from tests.cli.sources import API
from tests.support.damage import flip


def test_repair_takes_media(gap: Gap) -> None:
    bundle = gap.pack()
    copy = gap.folder / "copy"
    shutil.copytree(gap.stick, copy)
    flip(bundle / API.layers[0].path)
    done = gap.offline("repair", gap.stick, "--from", copy, "--allow-system-disk")
    assert f"{gap.stick}: taking {bundle}" in done.err
    assert f"{copy}: taking {copy / bundle.name}" in done.err
    gap.offline("verify", gap.stick)


def test_serve_takes_a_medium_or_a_name(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = gap.pack()
    monkeypatch.setattr(ImageServer, "serve_forever", ImageServer.close)
    assert f"taking {bundle}" in gap.offline("serve", gap.stick, "--port", "0").err
    monkeypatch.chdir(gap.folder)
    refused = gap.offline("serve", "stack-0009", "--port", "0", code=2)
    assert "no such file or folder: stack-0009" in refused.err


def test_send_takes_a_medium(gap: Gap) -> None:
    bundle = gap.pack()
    done = gap.online("send", gap.stick, "nobody@127.0.0.1:1", "--reconnect", "0", code=20)
    assert f"{gap.stick}: taking {bundle}" in done.err


def test_several_bundles_end_with_one_line(gap: Gap) -> None:
    first = gap.pack()
    path = gap.folder / "stack.yaml"
    path.write_text(path.read_text() + "# 2\n")
    gap.online("pack", path, "--to", gap.stick)
    done = gap.offline("load", first, gap.stick / "stack-0002", "--to", f"oci:{gap.folder}/out")
    assert done.out.endswith("bundles: 2 loaded; images: 2 already there, 2 loaded\n")
    alone = gap.offline("load", gap.stick / "stack-0002", "--to", f"oci:{gap.folder}/out")
    assert "bundles:" not in alone.out


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_text("x")], ids=["lost", "damaged"])
def test_a_lost_site_key_has_a_way_on(gap: Gap, harm) -> None:
    bundle = gap.pack()
    harm(gap.offline.home / "site.key")
    done = gap.offline("load", bundle, "--to", f"oci:{gap.folder}/out", code=13)
    assert "hint: put site.key back from a copy of this folder, or run `airgap restore`" in done.err
    assert not (gap.folder / "out").exists()
