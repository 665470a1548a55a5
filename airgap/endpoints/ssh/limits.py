"""Limits of SSH and SFTP; the other limits are in `airgap/limits.py`."""

SSH_CONNECT_SECONDS = 20.0
"""Each step of connecting to a server."""
SSH_LOGIN_SECONDS = 120.0
"""A login: a hardware key may wait for a touch."""
SSH_ANSWER_SECONDS = 120.0
"""The start of a command or a subsystem."""
SFTP_WORK_SECONDS = 600.0
"""Without an answer to a file request: a slow stick there may take minutes to sync."""
SFTP_REPLY_SECONDS = 1200.0
"""From the beginning of an answer to its end."""
AGENT_LIST_SECONDS = 10.0
"""The list of the ssh-agent's keys."""
AGENT_SIGN_SECONDS = 100.0
"""A signature: a hardware key may wait for a touch; less than the time limit of a login."""
MAX_SSH_SILENCES = 24
"""A program may take this many times the limit of its silence in all: a day for long work."""
MAX_SSH_JUMPS = 8
"""Jump hosts."""
MAX_SSH_INCLUDE_DEPTH = 8
"""Levels of included ssh_config files."""
MAX_SSH_CONFIG_BYTES = 1 << 20
"""An ssh_config file."""
MAX_KNOWN_HOSTS_BYTES = 16 << 20
"""A known_hosts file."""
MAX_SSH_KEY_BYTES = 64 << 10
"""A key file."""
MAX_SSH_PACKET_BYTES = 512 << 10
"""OpenSSH's limit is 256 KiB; paramiko reads any length that an unknown server claims."""
MAX_SSH_GREETING_BYTES = 64 << 10
"""What a server may send before its version."""
MAX_SSH_ERROR_BYTES = 16 << 10
"""The error output of a remote command that is kept."""
MAX_SSH_MESSAGE_CHARACTERS = 300
"""A server's message in an error."""
MAX_SSH_OUTPUT_CHARACTERS = 200
"""What a login prints instead of SFTP, in an error."""
MAX_AGENT_ANSWER_BYTES = 256 << 10
"""As in OpenSSH."""
MAX_AGENT_KEYS = 2048
"""As in OpenSSH."""
MAX_SFTP_REPLY_BYTES = (256 << 10) + 1024
"""An answer with a block of data."""
MAX_SFTP_NAME_CHARACTERS = 255
"""A name in a remote folder."""
MAX_SFTP_NAMES = 200_000
"""Names in a remote folder."""
