"""Private CAs in the forms that people make them, on each Python: accepted and refused as docker and curl do."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from airgap.errors import EndpointError
from tests.support.authorities import (
    ADDRESS_AS_NAME,
    AKI,
    CA,
    CA_NOT_CRITICAL,
    FOR_CLIENTS,
    NO_CA,
    SAN,
    SIGNS,
    SKI,
    Issued,
    Shape,
    issue,
)
from tests.support.registry import FakeRegistry
from tests.unit.endpoints.registry_support import IMAGE, client, filled, named
from tests.world.table import Kind, Row, replays, row

STRICT = "Python 3.13"
PULLED = "pulled, on every Python: VERIFY_X509_STRICT is off"


def _accepted(who: str, does: str, reported: str, shape: Shape) -> tuple[Row, Shape]:
    return Row(Kind.HOSTS, who, does, reported, PULLED), shape


ACCEPTED = {
    "the form of RFC 5280": _accepted(
        "cert-manager, step-ca", "issues CAs and certificates in the form of RFC 5280", "RFC 5280, section 4.2",
        Shape((CA, SIGNS, SKI)),
    ),
    "no key identifiers": _accepted(
        STRICT, "refuses a private CA and its certificates without key identifiers: "
        "Missing Authority Key Identifier", "python/cpython#107361", Shape((CA, SIGNS), (SAN,)),
    ),
    "only the server's key identifier is missing": _accepted(
        "Strimzi, syncloud and other Go programs", "sign certificates without an authority key identifier",
        "syncloud/platform#775", Shape((CA, SIGNS, SKI), (SAN, SKI)),
    ),
    "no keyUsage": _accepted(
        "openssl req -x509", "makes a CA without keyUsage", "openssl/openssl#28391", Shape((CA, SKI), (SAN, AKI)),
    ),
    "a self-signed CA as the server's": _accepted(
        "openssl req -x509 -addext", "makes one certificate that is the CA and the server's",
        "docker docs: Test an insecure registry, Use self-signed certificates", Shape((CA, SKI), (SAN, CA, SKI)),
    ),
    "basicConstraints not critical": _accepted(
        "openssl.cnf of many distributions", "has basicConstraints that are not critical",
        "openssl x509v3_config(5), Basic Constraints", Shape((CA_NOT_CRITICAL, SKI)),
    ),
    "version 1": _accepted(
        "openssl x509 -req -signkey", "makes a root of version 1, without extensions", "openssl-x509(1)",
        Shape(None, (SAN,)),
    ),
    "an intermediate CA as the anchor": _accepted(
        "Python up to 3.12", "takes only self-signed certificates for trust anchors (docker and curl any)",
        "python/cpython#107361", Shape((CA, SKI), intermediate=(CA, SKI, AKI)),
    ),
}  # fmt: skip


@pytest.fixture(params=["as this Python", "as Python 3.13"], autouse=True)
def python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the contexts of this Python have, and what those of 3.13 and later have."""
    if request.param != "as this Python":
        create = ssl.create_default_context

        def strict() -> ssl.SSLContext:
            context = create()
            context.verify_flags |= ssl.VERIFY_X509_STRICT
            return context

        monkeypatch.setattr("ssl.create_default_context", strict)


def pull(issued: Issued, host: str = "127.0.0.1", **options: object) -> None:
    with filled(FakeRegistry(tls=issued.pair)) as fake:
        _pull(fake, host, ca_file=issued.trusted, **options)


def _pull(fake: FakeRegistry, host: str, **options: object) -> None:
    fake.host = fake.host.replace("127.0.0.1", host)
    assert client(fake, retries=0, **options).resolve(named(fake)).digest == IMAGE.descriptor.digest


@replays(ACCEPTED)
def test_a_private_ca_is_accepted(case: Shape, tmp_path: Path) -> None:
    issued = issue(tmp_path, case)
    for host in ("127.0.0.1", "localhost"):
        pull(issued, host)


def _refused(does: str, reported: str, shape: Shape, message: str, hint: str) -> tuple[Row, object]:
    answer = "refused, as docker does, with the reason" + (" and the remedy" if hint else "")
    return Row(Kind.HOSTS, "private CAs", does, reported, answer), (shape, message, hint)


REFUSED = {
    "only a common name": _refused(
        "certificates whose only name is the common name", "golang/go#39568",
        Shape((CA, SIGNS, SKI), (AKI,), name="localhost"), "ostname mismatch", "must list this name",
    ),
    "an address as a DNS name": _refused(
        "an IP address among the DNS names", "golang/go#22922",
        Shape((CA, SIGNS, SKI), (ADDRESS_AS_NAME, AKI)), "mismatch", "must list this name",
    ),
    "expired": _refused(
        "certificates that have expired, or clocks that are wrong", "RFC 5280, section 4.1.2.5",
        Shape((CA, SIGNS, SKI), days=-1), "expired", "compare the clocks",
    ),
    "a certificate that may not sign": _refused(
        "a server certificate given as the CA of others", "RFC 5280, section 4.2.1.9",
        Shape((NO_CA, SKI)), "invalid CA", "",
    ),
    "for clients": _refused(
        "a client's certificate on a server", "RFC 5280, section 4.2.1.12",
        Shape((CA, SIGNS, SKI), (SAN, FOR_CLIENTS, AKI)), "purpose", "",
    ),
}  # fmt: skip


@replays(REFUSED)
def test_a_private_ca_is_refused(case: tuple[Shape, str, str], tmp_path: Path) -> None:
    shape, message, hint = case
    issued = issue(tmp_path, shape)
    with pytest.raises(EndpointError, match="TLS failed") as caught:
        pull(issued, "localhost")
    assert message in str(caught.value)
    assert hint in (caught.value.hint or "")


@row(
    Kind.HOSTS, "docker, curl", "trust a server's own certificate that is given as the CA", "measured",
    "trusted only for the names in it",
)  # fmt: skip
def test_the_servers_own_certificate_as_the_anchor(tmp_path: Path) -> None:
    issued = issue(tmp_path / "a", Shape((CA, SIGNS, SKI)))
    itself = Issued(issued.pair[0], issued.pair)
    pull(itself)
    with pytest.raises(EndpointError, match="TLS failed"):
        pull(Issued(itself.trusted, issue(tmp_path / "b", Shape((CA, SIGNS, SKI))).pair))


@pytest.mark.parametrize("make", [lambda shape: shape, lambda _: Shape(None, (SAN,))])
def test_another_ca_of_the_same_name_is_not_trusted(make: Callable[[Shape], Shape], tmp_path: Path) -> None:
    ours, theirs = (issue(tmp_path / name, make(Shape((CA, SIGNS, SKI)))) for name in ("ours", "theirs"))
    with pytest.raises(EndpointError, match="TLS failed"):
        pull(Issued(ours.trusted, theirs.pair))
