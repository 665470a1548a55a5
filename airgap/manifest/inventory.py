"""Reads the inventory, a YAML file of the hosts that a bundle is sent to.

version: 1
to: /srv/airgap               # the folder on each host that names none itself
load: docker                  # the target on each host that names none itself
hosts:
  - plant-a.example           # [user@]host[:port], or an alias of ssh_config
  - host: plant-b.example
    user: carrier
    port: 2222
    to: bundles
    load: registry:localhost:5000
"""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag

from airgap.errors import FormatError
from airgap.manifest import strict_yaml
from airgap.manifest.fields import HostAddress, HostName, LineText, Port, User, Version
from airgap.manifest.strict_yaml import Document
from airgap.manifest.validate import Lists, Strict, validate
from airgap.values import dataclass


class _HostDocument(Strict):
    host: HostName
    user: User | None = None
    port: Port | None = None
    to: LineText | None = None
    load: LineText | None = None


def _form(value: Any) -> str | None:
    if isinstance(value, str):
        return "text"
    return "mapping" if isinstance(value, dict) else None


_Host = Annotated[
    Annotated[HostAddress, Tag("text")] | Annotated[_HostDocument, Tag("mapping")], Discriminator(_form)
]
_LISTS: Lists = {"hosts": {"mapping": _HostDocument}}


class _InventoryDocument(Strict):
    version: Version
    to: LineText | None = None
    load: LineText | None = None
    hosts: Annotated[tuple[_Host, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class InventoryHost:
    """One host, with the file's defaults filled in."""

    address: str
    """`[user@]host[:port]`."""
    to: str | None
    load: str | None


@dataclass(frozen=True, slots=True)
class Inventory:
    """The hosts of a file, in its order; no two have the same address."""

    hosts: tuple[InventoryHost, ...]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file at `path`. Raises `FormatError` with the position of the mistake."""
        return cls.parse(strict_yaml.read_yaml_file(path), str(path))

    @classmethod
    def parse(cls, raw: bytes, name: str) -> Self:
        """Return the inventory in `raw`; errors name the file `name`."""
        document = strict_yaml.parse_yaml(raw, name)
        inventory = validate(_InventoryDocument, document, _LISTS)
        hosts = tuple(_host(item, inventory) for item in inventory.hosts)
        _refuse_twins(hosts, document)
        return cls(hosts)


def _host(item: str | _HostDocument, defaults: _InventoryDocument) -> InventoryHost:
    if isinstance(item, str):
        return InventoryHost(item, defaults.to, defaults.load)
    user = f"{item.user}@" if item.user else ""
    host = f"[{item.host}]" if ":" in item.host else item.host
    port = f":{item.port}" if item.port else ""
    return InventoryHost(f"{user}{host}{port}", item.to or defaults.to, item.load or defaults.load)


def _refuse_twins(hosts: tuple[InventoryHost, ...], document: Document) -> None:
    seen: dict[str, int] = {}
    for number, host in enumerate(hosts):
        first = seen.setdefault(host.address, number)
        if first != number:
            line = document.line(("hosts", first))
            got = f"'{host.address}', as on line {line}"
            raise FormatError("host listed twice", subject=document.at(("hosts", number)), got=got)
