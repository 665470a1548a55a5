"""Reads platforms as people write them: `all`, a list or a single one, with suggestions for other text."""

import re
from typing import Any

from airgap.errors import FormatError
from airgap.manifest.strict_yaml import describe_value
from airgap.oci.platform import Platform

ALL = "all"
WANT = "os/architecture[/variant], such as linux/amd64"

_ALL_WORDS = ("all", "any", "every", "everything", "multi", "*")
_MACHINES = {
    "amd64": ("x86_64", "x86-64", "x64", "intel", "intel64", "em64t", "amd64v1", "64bit"),
    "arm64": ("aarch64", "armv8", "arm64v8", "armv8-a", "arm64e", "arm64/v8", "m1", "apple"),
    "arm/v7": ("arm", "armv7", "armv7l", "armv7hf", "armhf", "arm32v7", "arm32", "armv7a"),
    "arm/v6": ("armv6", "armv6l", "armel", "arm32v6", "armv6hf"),
    "386": ("i386", "i486", "i586", "i686", "x86", "ia32", "32bit"),
    "ppc64le": ("ppc64el", "powerpc64le"),
    "s390x": ("s390",),
    "riscv64": ("riscv", "rv64", "riscv64gc"),
    "loong64": ("loongarch64", "loongarch"),
}
_ALIASES = {alias: machine for machine, aliases in _MACHINES.items() for alias in (machine, *aliases)}
_SYSTEM = re.compile(r"(linux|windows|win|darwin|macos|osx|mac)(?:[/\\_.: -]+|$)(.*)", re.ASCII)
_WINDOWS = ("windows", "win")


def suggestion(text: str) -> str | None:
    """Return the platform (or `all`) that `text` probably means; containers on macOS run on Linux."""
    word = text.strip().lower()
    if word in _ALL_WORDS:
        return ALL
    match = _SYSTEM.fullmatch(word)
    system, machine = (match[1], match[2]) if match else ("linux", word)
    system = "windows" if system in _WINDOWS else "linux"
    machine = machine.strip("/\\_.: -") or ("amd64" if match else "")
    known = _ALIASES.get(machine) or _ALIASES.get(re.sub(r"[/\\_.: -]+", "", machine))
    return f"{system}/{known}" if known else None


def parse_platform(text: str) -> Platform:
    """Return a platform. Raises `FormatError` with a suggestion, also for aliases like `linux/armv7`."""
    meant = suggestion(text)
    hint = f"did you mean '{meant}'?" if meant else None
    try:
        platform = Platform.parse(text)
    except FormatError as error:
        raise FormatError("not a platform", want=WANT, got=describe_value(text), hint=hint) from error
    alias = _ALIASES.get(platform.architecture)
    is_alias = alias is not None and not f"{alias}/".startswith(f"{platform.architecture}/")
    if is_alias or platform.os in _ALIASES:  # `linux/armv7`, `arm64/v8`
        raise FormatError("not a platform", want=WANT, got=describe_value(text), hint=hint)
    return platform


def as_list(value: Any) -> Any:
    """Return `all` as an empty list, one platform as a list, and others unchanged. Raises `FormatError`."""
    if value in (ALL, [ALL]):
        return []
    if isinstance(value, list) and ALL in value:
        raise FormatError(
            "'all' cannot be combined with platforms",
            want="`platforms: all`, or a list of platforms",
            got="both",
        )
    if isinstance(value, str) and value:
        if "," in value:
            raise FormatError(
                "several platforms in one value", got=describe_value(value), hint=f"write [{value}]"
            )
        parse_platform(value)
        return [value]
    return value
