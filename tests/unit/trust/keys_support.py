"""What the tests of keys share."""

import subprocess

import pytest
from cryptography.hazmat.primitives import serialization

from airgap.trust.keys import available

PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8
PLAIN = serialization.NoEncryption()
EACH_ALGORITHM = pytest.mark.parametrize("algorithm", available())


def never() -> bytes:
    raise AssertionError("asked for a passphrase without need")


def openssl(*args, data=b""):
    return subprocess.run(["openssl", *map(str, args)], input=data, capture_output=True, check=False)
