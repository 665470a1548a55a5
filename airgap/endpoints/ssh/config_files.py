"""ssh_config files, read as OpenSSH reads them (ssh_config(5), readconf.c): the settings of one server.

The first value of a setting applies, wherever it is; only the values of IdentityFile accumulate. A block ends
at the next Host or Match, and an included file applies only if the block that includes it does. No program is
ever run: `Match exec` is refused. So are unknown criteria of Match, because they decide which settings apply.
"""

import glob
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import field
from pathlib import Path
from typing import Self

from airgap.account import required_name, user_name
from airgap.endpoints.ssh.address import Address
from airgap.endpoints.ssh.known_hosts import matches
from airgap.endpoints.ssh.limits import MAX_SSH_CONFIG_BYTES, MAX_SSH_INCLUDE_DEPTH
from airgap.errors import FormatError
from airgap.values import dataclass

USED = {
    "canonicalizehostname", "globalknownhostsfile", "hostkeyalias", "hostname", "identitiesonly",
    "identityagent", "identityfile", "knownhostscommand", "port", "proxycommand", "proxyjump",
    "revokedhostkeys", "user", "userknownhostsfile",
}  # fmt: skip
"""The settings that are used; others are not even parsed."""

_LINE = re.compile(r'(?P<key>\w+|"\w+")(?:[ \t]*=[ \t]*|[ \t]+)(?P<rest>.*)', re.ASCII)
_BLANK = " \t\r\f\v"
_ALONE = ("all", "canonical", "final")
_WITH_VALUE = ("host", "originalhost", "user", "localuser")
_NAME_IT = "name the remote user: USER@HOST, or `User` in ssh_config"
_ELSEWHERE = "--ssh-config FILE replaces all other files"


@dataclass(frozen=True, slots=True)
class Setting:
    """One line with a setting."""

    where: str
    key: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Criterion:
    """One condition of a block; the line of a Host block is one."""

    name: str
    wanted: bool
    patterns: tuple[str, ...]


Block = tuple[Criterion, ...]


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """One file, in its order: settings, the beginnings of blocks, and included files."""

    items: "tuple[Setting | Block | ConfigFile, ...]"

    @classmethod
    def read(cls, path: Path, folder: Path, *, trusted: bool) -> Self:
        """Read a file; a missing one is empty. Names of included files are relative to `folder`. Raises
        `FormatError`, also for a file that other users can write, unless it is `trusted`.
        """
        return cls(tuple(_items(path, folder, 0, trusted=trusted)))


@dataclass(slots=True)
class HostSettings:
    """The settings found for a server; `final` is true in a second reading, which `Match final` causes."""

    address: Address
    values: dict[str, Setting] = field(default_factory=dict)
    identities: list[Setting] = field(default_factory=list)
    final: bool = False
    wants_final: bool = False

    @classmethod
    def of(cls, address: Address, files: Sequence[ConfigFile]) -> Self:
        """Read the settings for `address`. Raises `FormatError` for a HostName that cannot be expanded."""
        found = cls(address)
        found._read(files)
        if found.wants_final:
            found.final = True
            host = Setting("", "hostname", (address.host.replace("%", "%%"),))
            found.values.setdefault("hostname", host)  # OpenSSH keeps it in the second reading
            found._read(files)
        return found

    @property
    def host(self) -> str:
        """The name to connect to."""
        named = self.values.get("hostname")
        return expanded(named, {"h": self.address.host}) if named else self.address.host

    @property
    def user(self) -> str:
        return self.address.user or self.word("user") or required_name(_NAME_IT)

    def word(self, key: str) -> str | None:
        """Return the single word of a setting."""
        return self.values[key].words[0] if key in self.values else None

    def _read(self, files: Sequence[ConfigFile]) -> None:
        for file in files:
            self._apply(file, active=True)

    def _apply(self, file: ConfigFile, *, active: bool) -> None:
        applies = active
        for item in file.items:
            if isinstance(item, ConfigFile):
                self._apply(item, active=applies)
            elif isinstance(item, Setting):
                if applies:
                    self._set(item)
            else:
                applies = self._are_all_met(item) and active

    def _set(self, setting: Setting) -> None:
        if setting.key == "identityfile":
            if setting.words not in [known.words for known in self.identities]:
                self.identities.append(setting)
        elif setting.key in ("proxyjump", "proxycommand"):
            self.values.setdefault("proxy", setting)  # whichever comes first excludes the other
        else:
            self.values.setdefault(setting.key, setting)

    def _are_all_met(self, block: Block) -> bool:
        self.wants_final |= any(criterion.name == "final" for criterion in block)
        return all(self._is_met(criterion) is criterion.wanted for criterion in block)

    def _is_met(self, criterion: Criterion) -> bool:
        match criterion.name:
            case "all":
                return True
            case "canonical" | "final":
                return self.final
            case "host":
                return _listed(self.host.lower(), [pattern.lower() for pattern in criterion.patterns])
            case "originalhost":
                name = self.address.host.lower()
                return _listed(name, [pattern.lower() for pattern in criterion.patterns])
            case "user":
                return _listed(self.user, criterion.patterns)
            case "localuser":
                return _listed(user_name(), criterion.patterns)
        # The line of a Host block. In the second reading it applies to the name found in the first.
        return _listed(self.host.lower() if self.final else self.address.host, criterion.patterns)


def expanded(setting: Setting, tokens: dict[str, str], word: str | None = None) -> str:
    """Return the (first) word with its `%` tokens and `${...}` expanded. Raises `FormatError` for unknown
    ones.
    """

    def stands_for(match: re.Match[str]) -> str:
        token, variable = match["token"], match["variable"]
        value = os.environ.get(variable) if variable is not None else {**tokens, "%": "%"}.get(token)
        if value is None:
            raise FormatError("cannot be expanded", subject=f"{setting.where}: {setting.key}", got=match[0])
        return value

    return re.sub(r"%(?P<token>.?)|\$\{(?P<variable>[^}]*)\}", stands_for, word or setting.words[0])


def _listed(name: str, patterns: Sequence[str]) -> bool:
    """Return whether one of the patterns matches, and none of those with a `!`."""
    if any(pattern[:1] == "!" and matches(name, pattern[1:]) for pattern in patterns):
        return False
    return any(matches(name, pattern) for pattern in patterns)


def _items(path: Path, folder: Path, depth: int, *, trusted: bool) -> Iterator[Setting | Block | ConfigFile]:
    for number, text in enumerate(_text(path, depth, trusted=trusted).split("\n"), 1):
        line = text.strip(_BLANK)
        if not line or line.startswith("#"):
            continue
        where = f"{path}:{number}"
        match = _LINE.fullmatch(line)
        if match is None:
            raise FormatError("not an ssh_config file", subject=where, want="KEYWORD VALUE", got=repr(line))
        key = match["key"].strip('"').lower()
        if key == "include":
            for word in _words(match["rest"], where):
                for name in _named(word, folder, where):
                    yield ConfigFile(tuple(_items(Path(name), folder, depth + 1, trusted=False)))
        elif key == "host":
            yield (Criterion("", wanted=True, patterns=_words(match["rest"], where)),)
        elif key == "match":
            yield tuple(_criteria(_words(match["rest"], where), where))
        elif key in USED:
            yield _setting(where, key, match["rest"])


def _setting(where: str, key: str, rest: str) -> Setting:
    if key in ("proxycommand", "knownhostscommand"):  # the rest of the line is for a shell
        return Setting(where, key, (rest,))
    words = _words(rest, where)
    if key == "proxyjump":
        words = (" ".join(words),)
    elif len(words) > 1 and not key.endswith("knownhostsfile"):
        raise FormatError("more than one value", subject=f"{where}: {key}", got=repr(rest))
    return Setting(where, key, words)


def _criteria(words: Sequence[str], where: str) -> Iterator[Criterion]:
    rest = iter(words)
    for word in rest:
        name, equals, value = word.removeprefix("!").partition("=")
        name = name.lower()
        if name == "exec":
            what = "Match exec is not supported: it would run a program"
            raise FormatError(what, subject=where, got=" ".join(words), hint=_ELSEWHERE)
        if name in _ALONE:
            if name == "all" and not set(words[:-1]) <= {"canonical", "final"}:
                raise FormatError(
                    "not an ssh_config file", subject=where, want="`all` alone", got=" ".join(words)
                )
            yield Criterion(name, not word.startswith("!"), ())
            continue
        if name not in _WITH_VALUE:
            raise FormatError("unsupported Match criterion", subject=where, got=word, hint=_ELSEWHERE)
        value = value if equals else next(rest, "")
        if not value:
            raise FormatError(
                "not an ssh_config file", subject=where, want=f"Match {name} PATTERNS", got="no pattern"
            )
        yield Criterion(name, not word.startswith("!"), tuple(value.split(",")))


def _words(text: str, where: str) -> tuple[str, ...]:
    """Split a line as OpenSSH does (argv_split): quotes of both kinds, a few escapes, and `#` before a word.
    Raises `FormatError` for an unclosed quote, and if the result has no word or an empty one.
    """
    words: list[str] = []
    quote, between, at = "", True, 0
    while at < len(text):
        letter, after = text[at], text[at + 1 : at + 2]
        at += 1
        if between:
            if letter in " \t":
                continue
            if letter == "#":
                break
            words.append("")
            between = False
        if letter == "\\" and after and (after in "'\"\\" or (after == " " and not quote)):
            words[-1] += after
            at += 1
        elif not quote and letter in " \t":
            between = True
        elif not quote and letter in "'\"":
            quote = letter
        elif letter == quote:
            quote = ""
        else:
            words[-1] += letter
    if quote:
        raise FormatError("not an ssh_config file", subject=where, got="an unclosed quote")
    if not all(words) or not words:
        raise FormatError("not an ssh_config file", subject=where, want="KEYWORD VALUE", got="an empty value")
    return tuple(words)


def _named(word: str, folder: Path, where: str) -> list[str]:
    """Return the files that an Include names, in order."""
    if "%" in word or "${" in word:
        raise FormatError("cannot be expanded", subject=f"{where}: Include", got=word)
    return sorted(glob.glob(str(folder / home(word, where))))  # noqa: PTH207 - absolute ones


def home(text: str, where: str) -> Path:
    """Return a path with `~` expanded. Raises `FormatError`."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise FormatError("no such user, or no home folder", subject=where, got=text) from error


def _text(path: Path, depth: int, *, trusted: bool) -> str:
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            raw = file.read(MAX_SSH_CONFIG_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise FormatError("cannot be read", subject=path, got=error.strerror) from error
    if len(raw) > MAX_SSH_CONFIG_BYTES or depth > MAX_SSH_INCLUDE_DEPTH:
        raise FormatError("too large", subject=path, want=f"at most {MAX_SSH_CONFIG_BYTES:,} bytes")
    if not trusted and (found.st_uid not in (0, os.getuid()) or found.st_mode & stat.S_IWOTH):
        got = f"owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):04o}"
        want, hint = "a file that you or root alone can write", f"chmod go-w {path}; {_ELSEWHERE}"
        raise FormatError("other users can write the file", subject=path, want=want, got=got, hint=hint)
    return raw.decode("utf-8", "surrogateescape")
