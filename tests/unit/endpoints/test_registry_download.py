"""Files at addresses: what is fetched, and what a server must not make of us."""

from collections.abc import Iterator

import pytest

from airgap.endpoints.registry import RegistryOptions
from airgap.endpoints.registry.download import Download
from airgap.errors import AirgapError, DigestMismatchError, EndpointError, SizeMismatchError
from airgap.oci.digest import CheckedReader, Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference
from tests.support.images import noise
from tests.support.registry import Answer, FakeRegistry
from tests.unit.endpoints.registry_support import Clock, drain

FILE = noise(300_000, 3)
DESCRIPTOR = Descriptor("application/octet-stream", Digest.of(FILE), len(FILE))
REFERENCE = ImageReference.parse("x/y:1")
PATH = "/releases/k3s"


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as server:
        server.objects[PATH] = FILE
        yield server


def download(fake: FakeRegistry, path: str = PATH, **options: object) -> Download:
    clock = Clock()
    made = RegistryOptions(**{"sleep": clock.sleep, "clock": clock, "retries": 3, **options})  # type: ignore[arg-type]
    return Download(fake.url + path, made)


def read(source: Download, offset: int = 0) -> bytes:
    return drain(source.open_blob(REFERENCE, DESCRIPTOR, offset))


def test_a_file_is_measured_and_fetched(fake):
    source = download(fake)
    assert source.measure() == len(FILE)
    assert read(source) == FILE
    assert {request.path for request in fake.requests} == {PATH}


@pytest.mark.parametrize("offset", [0, 100])
def test_a_broken_connection_is_resumed(fake, offset):
    fake.fault(method="GET", path="/releases/", drop_at=200_000, times=1)
    assert read(download(fake), offset) == FILE[offset:]


def test_a_query_stays_in_the_request(fake):
    fake.objects[f"{PATH}?token=1"] = FILE
    download(fake, f"{PATH}?token=1").measure()
    assert fake.requests[-1].path.startswith(PATH)


def redirect(to: str):
    return lambda request: Answer(302, headers={"Location": to}) if request.path == PATH else None


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "ftp://a/b", "http://10.0.0.1/x", "http://u:p@127.0.0.1/x", PATH]
)
def test_a_redirect_elsewhere_is_not_followed(fake, to):
    fake.habits.append(redirect(to))
    with pytest.raises(EndpointError):
        download(fake).measure()


def test_a_redirect_on_the_server_is_followed(fake):
    fake.objects["/real"] = FILE
    fake.habits.append(redirect("/real"))
    assert read(download(fake)) == FILE


def test_a_server_must_state_the_size(fake):
    fake.fault(method="GET", path="/releases/", headers={"content-length": None, "connection": "close"})
    with pytest.raises(EndpointError) as caught:
        download(fake).measure()
    assert "the server does not state the size of the file" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"x" * len(FILE), DigestMismatchError), (FILE + b"x", SizeMismatchError), (FILE[:-1], AirgapError)],
    ids=["other bytes", "longer", "shorter"],
)
def test_other_content_is_noticed_before_its_end(fake, content, kind):
    fake.objects[PATH] = content
    stream = download(fake, retries=0).open_blob(REFERENCE, DESCRIPTOR)
    with pytest.raises(kind):
        drain(CheckedReader(stream, DESCRIPTOR.digest, DESCRIPTOR.size))


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_refusal_is_an_error_with_the_address(fake, status):
    fake.habits.append(lambda _: Answer(status))
    with pytest.raises(EndpointError) as caught:
        download(fake, retries=0).measure()
    assert f"{fake.url}{PATH}" in str(caught.value)


def test_an_address_has_no_images(fake):
    for ask in (lambda s: s.resolve(REFERENCE), lambda s: s.read_document(REFERENCE, DESCRIPTOR)):
        with pytest.raises(EndpointError):
            ask(download(fake))


def test_errors_name_the_web_server(fake):
    fake.fault(path=PATH, status=302, headers={"location": "file:///etc/passwd"})
    with pytest.raises(EndpointError) as caught:
        download(fake).measure()
    assert caught.value.what == "the web server points to an unusable address"
