"""The server, started and ended as a program."""

import json
import signal
import subprocess
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cli.conftest import Gap, Side
from tests.cli.processes import PATIENCE, started
from tests.support.images import simple_image, write_layout

# -- serve


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_serve(gap: Gap, signum: signal.Signals) -> None:
    bundle = gap.pack()
    with started(
        gap.offline.home,
        *("serve", bundle, "--port", "0", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        lines = iter(process.stdout.readline, b"}\n")
        told = json.loads(b"".join([*lines, b"}"]))
        assert told["repositories"] == ["api", "example.com/api", "example.com/web", "web"]
        url = f"http://{told['address']}/v2/example.com/api/manifests/1"
        with urlopen(url, timeout=PATIENCE) as answer:
            assert answer.read() == simple_image("api").raw
        process.send_signal(signum)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert b"Traceback" not in err


def test_serve_a_folder_without_a_site(fresh: Side, tmp_path: Path) -> None:
    write_layout(tmp_path / "source", {"example.com/a:1": simple_image("a")})
    with started(fresh.home, "serve", tmp_path / "source", "--port", "0", stdout=subprocess.PIPE) as process:
        assert process.stdout.readline().startswith(b"serving 1 repositories at http://127.0.0.1:")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("nowhere",), 2, "nowhere"),
        ((".",), 2, "not a bundle or an OCI image layout: ., got an empty folder"),
        (("bundle",), 12, "wrong digest"),
        (("good", "--bind", "nowhere.invalid"), 18, "nowhere.invalid"),
        (("good", "--bind", "203.0.113.1"), 18, "203.0.113.1:0, got Cannot assign requested address\n"),
    ],
)
def test_serve_refuses(
    gap: Gap, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, message: str
) -> None:
    bundle = gap.pack()
    (gap.folder / "good").symlink_to(gap.folder / "source")
    bundle.rename(gap.folder / "bundle")
    blob = gap.folder / "bundle" / simple_image("api").layers[0].path
    blob.write_bytes(blob.read_bytes()[:-1] + b"\1")  # it ended in a zero byte of its length
    (gap.folder / "empty").mkdir()
    monkeypatch.chdir(gap.folder / "empty" if words == (".",) else gap.folder)
    assert message in gap.offline("serve", *words, "--port", "0", code=code).err
