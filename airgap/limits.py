"""Limits on what comes from outside: how much is read, counted or waited for before it is refused.

A limit is far above what honest parts send, and low enough that a hostile one costs little memory and time.
"""

# -- engines: Docker, podman, containerd

ENGINE_SILENCE_SECONDS = 3600
"""Without a byte: engines compress before `save` begins and unpack after `load` has ended."""
MAX_ENGINE_ANSWER_BYTES = 4 << 20
"""A document of an engine."""
MAX_ENGINE_LIST_BYTES = 32 << 20
"""The list of images: most entries are smaller than a KiB, those with many labels have several."""
MAX_ENGINE_ERROR_BYTES = 64 << 10
"""The body of an answer that reports a failure."""
MAX_ENGINE_MESSAGE_CHARACTERS = 2000
"""An engine's message in an error."""
MAX_ENGINE_VERSION_CHARACTERS = 100
"""The version that an engine reports."""
MAX_ENGINE_NAME_CHARACTERS = 255
"""An engine's name for its machine."""
MAX_CTR_OUTPUT_BYTES = 16 << 20
"""The output of `ctr`: a list of all images."""
MAX_CTR_ERROR_BYTES = 16 << 10
"""The end of its error output, which has the reason."""
CTR_OUTPUT_SECONDS = 10.0
"""The rest of the output of a `ctr` that has ended."""
MAX_DOCKER_CONFIG_BYTES = 4 << 20
"""A file of Docker's client configuration."""
MAX_HELPER_ANSWER_BYTES = 1 << 20
"""The answer of a credential helper."""
CREDENTIAL_HELPER_SECONDS = 120.0
"""A credential helper: long enough for a person who has to unlock a key."""
MAX_HOLDINGS_BYTES = 64 << 20
"""What was loaded into one target; the oldest images are dropped above that."""
MAX_HELD_IMAGES = 20_000
"""Images in that file."""

# -- image archives

MAX_IMAGE_ARCHIVE_FILES = 100_000
"""Entries of an image archive, which are listed in memory."""
MAX_KEPT_DOCUMENT_BYTES = 1 << 20
"""A document of a compressed archive that is kept while the archive is listed."""
MAX_KEPT_DOCUMENTS_BYTES = 32 << 20
"""All documents of an archive that are kept in memory."""
MAX_ARCHIVE_PASSES = 16
"""Times that a compressed archive is read from its beginning, once for each larger document."""
MAX_UNPACKED_RATIO = 1_100
"""Content to compressed archive: gzip's own limit is 1,032, far above real images."""
FREE_UNPACKED_BYTES = 64 << 20
"""What may be decompressed whatever the ratio."""

# -- SSH

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
