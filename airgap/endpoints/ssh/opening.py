"""The beginning of SFTP on a connection: what logins do that are not made for it, each told from the others.

sshd runs the server for files by the login's shell, unless it is its own (`internal-sftp`). So start-up files
that print, forced commands, shells that refuse, and passwords that have to be changed all end here.
"""

import contextlib

import paramiko

from airgap.endpoints.ssh.command import ANSWER_SECONDS, answered, last_words
from airgap.endpoints.ssh.connect import Connection
from airgap.endpoints.ssh.sftp import GreetingError, Sftp
from airgap.errors import TransportError

_WORK_SECONDS = 600.0
"""Without any answer to a file request: a slow stick there may take minutes to sync."""
_MAX_WORDS = 200
_INTERNAL = "`Subsystem sftp internal-sftp` in the host's sshd_config needs no shell"


def open_sftp(connection: Connection, seconds: float = ANSWER_SECONDS) -> Sftp:
    """A session for files, which has to begin within `seconds`.

    Raises `TransportError` for a login that has none, and what paramiko raises when the link breaks.
    """
    name = connection.name
    try:
        channel = connection.session()
    except paramiko.ChannelException as error:
        hint = "check MaxSessions in the host's sshd_config, and what this login may do"
        raise TransportError(
            "the server refuses to open a session", subject=name, got=error.text, hint=hint
        ) from error
    channel.settimeout(seconds)
    try:
        with answered(channel, f"{name}: sftp", seconds):
            channel.invoke_subsystem("sftp")
    except paramiko.SSHException as error:
        if connection.lost():
            raise
        hint = "`Subsystem sftp internal-sftp` in the host's sshd_config turns it on"
        raise TransportError("the server does not offer SFTP", subject=name, hint=hint) from error
    try:
        sftp = Sftp(channel)
    except GreetingError as error:
        raise _not_sftp(name, channel, error.said) from error
    except TimeoutError as error:
        hint = f"the remote login waits for something, such as input: log in with ssh to see; {_INTERNAL}"
        got = f"{seconds:.0f} s of silence"
        raise TransportError("SFTP does not start", subject=name, got=got, hint=hint) from error
    except (EOFError, OSError) as error:  # the session is closed, maybe before anything was asked
        if connection.lost():
            raise
        raise _not_sftp(name, channel, _left(channel)) from error
    channel.settimeout(_WORK_SECONDS)
    return sftp


def _not_sftp(name: str, channel: paramiko.Channel, said: bytes) -> TransportError:
    if said:
        for _ in range(4):
            said += _left(channel)
        return TransportError(
            "the remote login prints something before SFTP starts",
            subject=name,
            got=repr(_words((said.partition(b"\0")[0] or said).decode("utf-8", "replace"))),
            hint="if start-up files of its shell (.bashrc, .cshrc) print it, let them print on terminals "
            "only; otherwise the login is for another use (ForceCommand, nologin): choose another login; "
            f"{_INTERNAL}",
        )
    words = _words(last_words(channel))
    if not words and channel.exit_status_ready():
        words = f"exit code {channel.recv_exit_status()}"
    return TransportError(
        "the remote login ended before SFTP started",
        subject=name,
        got=words or None,
        hint="log in with ssh to see why: the shell may refuse (nologin, rbash, a forced command), the "
        f"password may have expired, or the SFTP program may be missing; {_INTERNAL}",
    )


def _left(channel: paramiko.Channel) -> bytes:
    """What was said before the end and not read yet."""
    channel.settimeout(1)
    with contextlib.suppress(OSError):  # TimeoutError is one
        return channel.recv(_MAX_WORDS)
    return b""


def _words(text: str) -> str:
    return " ".join(text.split())[:_MAX_WORDS]
