"""Limits on what comes from outside: how much is read, counted or waited for before it is refused.

A limit is far above what honest parts send, and low enough that a hostile one costs little memory and time.
"""

# Registries: hostile answers, and waits that a registry can cause.

MAX_ERROR_BODY_BYTES = 8 << 10
"""Reasons for a refusal are short."""
MAX_TOKEN_ANSWER_BYTES = 1 << 18
"""Tokens have a few kilobytes."""
MAX_CHALLENGE_BYTES = 8 << 10
"""A WWW-Authenticate header names a scheme and a few parameters."""
MAX_ANSWER_LINE_BYTES = 128 << 10
"""Status lines, headers, lengths of chunks and trailers, besides one for each byte of content."""
MIN_ANSWER_BYTES_PER_SECOND = 5_000.0
"""A slower answer is abandoned: a layer of 5 GB may take twelve days."""
MAX_REDIRECTS = 5
"""Blob storage takes one or two."""
MAX_RETRY_AFTER_SECONDS = 86_400.0
"""The longest wait that a registry can ask for; the options limit how much of it is granted."""
MAX_BACKOFF_SECONDS = 60.0
"""The longest wait that airgap chooses itself."""
MAX_RESUMES = 100
"""Connections that may break in one download or upload, besides one for each MiB."""
MAX_REFERRERS = 1_000
"""Of one image."""
MAX_TAGS = 100_000
"""Of one repository."""
MAX_LIST_PAGES = 1_000
"""Of one list of referrers or tags."""

# Images: hostile indexes.

MAX_INDEX_LEVELS = 4
"""An image of several platforms has two: its index and the image manifests."""

# Serving: clients that are hostile or broken.

MAX_REQUEST_HEAD_BYTES = 16 << 10
"""The request line and the headers together."""
MAX_REQUEST_HEADERS = 100
"""Clients send about ten."""
MAX_LINGER_BYTES = 1 << 20
"""What is still read of a client whose connection is about to be closed."""
MAX_LINGER_SECONDS = 0.5
"""A client that takes longer may lose the answer."""
