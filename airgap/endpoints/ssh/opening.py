"""Opens SFTP on a connection, and identifies the ways in which unsuitable logins fail.

sshd runs the SFTP server through the login's shell, unless it uses its own (`internal-sftp`). So start-up
files that print, forced commands, shells that refuse, and expired passwords all show here.
"""

import contextlib

import paramiko

from airgap.endpoints.ssh.command import answered, error_output
from airgap.endpoints.ssh.connect import SshConnection
from airgap.endpoints.ssh.limits import MAX_SSH_OUTPUT_CHARACTERS, SFTP_WORK_SECONDS, SSH_ANSWER_SECONDS
from airgap.endpoints.ssh.sftp import GreetingError, Sftp
from airgap.errors import TransportError

_INTERNAL = "`Subsystem sftp internal-sftp` in the host's sshd_config needs no shell"


def open_sftp(connection: SshConnection, seconds: float = SSH_ANSWER_SECONDS) -> Sftp:
    """Open an SFTP session, which must start within `seconds`.

    Raises `TransportError` for a login without SFTP, and what paramiko raises if the connection breaks.
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
        raise _not_sftp(name, channel, error.output) from error
    except TimeoutError as error:
        hint = f"the remote login waits for something, such as input: log in with ssh to see; {_INTERNAL}"
        got = f"{seconds:.0f} s of silence"
        raise TransportError("SFTP does not start", subject=name, got=got, hint=hint) from error
    except (EOFError, OSError) as error:  # the session is closed, maybe before the first request
        if connection.lost():
            raise
        raise _not_sftp(name, channel, _remaining(channel)) from error
    channel.settimeout(SFTP_WORK_SECONDS)
    return sftp


def _not_sftp(name: str, channel: paramiko.Channel, output: bytes) -> TransportError:
    if output:
        for _ in range(4):
            output += _remaining(channel)
        return TransportError(
            "the remote login prints something before SFTP starts",
            subject=name,
            got=repr(_words((output.partition(b"\0")[0] or output).decode("utf-8", "replace"))),
            hint="if start-up files of its shell (.bashrc, .cshrc) print it, let them print on terminals "
            "only; otherwise the login is for another use (ForceCommand, nologin): choose another login; "
            f"{_INTERNAL}",
        )
    words = _words(error_output(channel))
    if not words and channel.exit_status_ready():
        words = f"exit code {channel.recv_exit_status()}"
    return TransportError(
        "the remote login ended before SFTP started",
        subject=name,
        got=words or None,
        hint="log in with ssh to see why: the shell may refuse (nologin, rbash, a forced command), the "
        f"password may have expired, or the SFTP program may be missing; {_INTERNAL}",
    )


def _remaining(channel: paramiko.Channel) -> bytes:
    """Return output that came before the end and has not been read yet."""
    channel.settimeout(1)
    with contextlib.suppress(OSError):  # TimeoutError is one
        return channel.recv(MAX_SSH_OUTPUT_CHARACTERS)
    return b""


def _words(text: str) -> str:
    return " ".join(text.split())[:MAX_SSH_OUTPUT_CHARACTERS]
