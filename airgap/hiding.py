"""Finds and hides logins and tokens in text, by the forms in which people and programs write them.

    https://USER:PW@HOST           a URL with a password, of any scheme; with http(s) also a user alone, which
                                   may be a token
    USER:PW@HOST                   a login before a host without a scheme, for example `registry:USER:PW@HOST`
    ?token=…&X-Amz-Signature=…     a query with a credential or a signature
    Bearer …, Basic …              the value of an Authorization header

airgap refuses arguments and manifests that contain such a secret, because the secret would be recorded in
ledgers, receipts and shell histories. In text from elsewhere the secret is masked before the text is shown or
recorded. Secrets in running text are not found.
"""

import re
from urllib.parse import unquote

MASK = "***"
LOGIN_HINT = (
    "use `docker login HOST` for registries, keys for SSH, and HTTP_PROXY and HTTPS_PROXY for proxies; "
    "change a password that was shown"
)

_SECRET_NAME = re.compile(r"passw|passphrase|token|authorization|secret|credential", re.IGNORECASE)
_SLASHES = "(?://|[A-Za-z]:/)"
"""The slashes of a URL, also of a URL that went through `Path`."""
_COLON, _AT = "(?::|%3[Aa])", "(?:@|%40)"
_DIGEST = r"(?!sha(?:256|512):|\*\*\*@)"
_URL_LOGIN = re.compile(rf"({_SLASHES}[^\s/?#:@]*){_COLON}[^\s/?#]*{_AT}{_DIGEST}")
_URL_LOGIN_WITH_SLASH = re.compile(
    rf"({_SLASHES}[^\s/?#:@]*){_COLON}(?!\*\*\*@|\d{{0,5}}[/?#\s])[^\s@]+@{_DIGEST}"
)
_HTTP_USER = re.compile(rf"(https?://?)[^\s/?#:@]+{_AT}", re.IGNORECASE)
_PLAIN_LOGIN = re.compile(
    r"(?<![^\s\"'`=,;(\[<{])"
    r"((?:(?:registry|docker|podman|containerd|ssh|tcp|https?):)*"
    r"(?!(?:archive|oci|k3s|rke2|k0s|unix|file|dir|mailto|sips?|xmpp|acct)[:-])"
    rf"[^\s/:@\"'`=,;(\[<{{%]+){_COLON}(?![^\s@]*\*\*\*@|/|\d{{1,5}}/|[^\s@]*://)[^\s@]+?(?:@[^\s/:@]+)*?{_AT}"
    rf"(?={_DIGEST}[A-Za-z0-9\[])(?![^\s/@]*@)"
)
_QUERY = re.compile(
    r"([?&#](?:[\w.-]*(?:token|secret|passw|pwd|signature|credential|api[_-]?key|accesskey|auth(?!or))[\w.-]*"
    r"|sig|key|pass|pw)=)(?!\*\*\*)[^\s&#;\"'<>)]+",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"(\bauthorization[\"']?[:=] *[\"']?(?:bearer|basic|token) +)(?!\*\*\*)[^\s\"']+"
    r"|(\b(?:bearer|basic) +)(?:[\w.~+/-]{8,}=+|(?=[\w.~+/-]*[0-9])[\w.~+/-]{16,})",
    re.IGNORECASE | re.ASCII,
)
_HINTS = ("@", "%40", "=", "earer ", "asic ", "EARER ", "ASIC ", "uthorization", "UTHORIZATION")
"""Text without any of these contains no secret."""


def hide(text: str) -> str:
    """Mask each secret in `text` that has one of these forms: `https://user:***@host`. Idempotent."""
    rest = text.replace("@sha256:", "").replace("@sha512:", "")
    if not any(hint in rest for hint in _HINTS):
        return text
    text = _URL_LOGIN.sub(rf"\1:{MASK}@", text)
    text = _URL_LOGIN_WITH_SLASH.sub(rf"\1:{MASK}@", text)
    text = _HTTP_USER.sub(rf"\1{MASK}@", text)
    text = _PLAIN_LOGIN.sub(rf"\1:{MASK}@", text)
    text = _QUERY.sub(rf"\1{MASK}", text)
    return _HEADER.sub(lambda match: f"{match[1] or match[2]}{MASK}", text)


def is_secret_name(key: str) -> bool:
    """Return whether a key with this name holds a secret."""
    return _SECRET_NAME.search(key) is not None


def has_secret(text: str) -> bool:
    """Return whether `hide` would change `text`, as it is or percent-decoded."""
    decoded = unquote(text)
    return any(hide(form) != form for form in (text, decoded, unquote(decoded)))
