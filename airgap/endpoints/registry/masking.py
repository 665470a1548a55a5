"""Masks the secrets that we send, wherever a server repeats them: in errors, redirects and so in logs."""

import json
from collections.abc import Iterable
from urllib.parse import quote, quote_plus, urlsplit

from airgap.errors import EndpointError
from airgap.hiding import MASK, hide


class SecretMask:
    """Knows the secrets that are sent to one registry, its token service and its proxies; for several
    threads.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets: dict[str, tuple[str, ...]] = {"proxies": tuple(secrets)}

    def add(self, purpose: str, *secrets: str) -> None:
        """Mask `secrets` from now on, instead of those that served the same purpose before."""
        self._secrets[purpose] = secrets

    def mask(self, text: str) -> str:
        """Return `text` with each secret masked, including its forms in a URL and in JSON."""
        for secrets in list(self._secrets.values()):
            for secret in filter(None, secrets):
                encoded = quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]
                for form in (secret, *encoded):
                    text = text.replace(form, MASK)
        return text

    def mask_url(self, url: str) -> str:
        """Return `url` for a log: without its query, in which storage and token services expect secrets."""
        return self.mask(hide(urlsplit(url)._replace(query="", fragment="").geturl()))

    def mask_error(self, error: EndpointError) -> EndpointError:
        """Return `error` without secrets, even if the server has escaped them in its JSON."""
        error.got = None if error.got is None else self.mask(str(error.got))
        return error
