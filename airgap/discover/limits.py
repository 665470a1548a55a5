"""Limits on deployment files, besides those of `airgap/limits.py` that their YAML has."""

MAX_FOUND_PLACES = 100_000
"""Places that name an image, in all files."""
MAX_FOUND_PROBLEMS = 10_000
"""Problems that are kept."""
MAX_COMPOSE_SERVICES = 2_000
"""Services of a Compose project: the largest have some hundred."""
MAX_VALUE_CHARACTERS = 1_024
"""A value of a Compose file before its variables are replaced; the name of an image has at most 500."""
MAX_VARIABLE_DEPTH = 16
"""Variables in the defaults of variables."""
MAX_EXPANDED_CHARACTERS = 64 << 10
"""A text with its variables replaced: they could multiply it."""
MAX_VARIABLES_CHARACTERS = 16 << 20
"""All values of an env file, with their variables replaced."""
MAX_INCLUDED_DEPTH = 16
"""Levels of files that include or extend one another."""
MAX_INCLUDED_FILES = 1_000
"""Files that a Compose project includes or extends, each as often as it does."""
MAX_KUSTOMIZE_VALUES = 5_000_000
"""Values that the patches and the image rules of kustomizations walk through: a minute of work."""
MAX_KUSTOMIZE_DEPTH = 30
"""Kustomizations in one another."""
MAX_CHART_ARCHIVE_BYTES = 20 << 20
"""A packed chart: Helm itself refuses larger ones."""
MAX_CHART_BYTES = 100 << 20
"""All files of a chart, unpacked: the limit of Helm."""
MAX_CHART_FILES = 10_000
"""Files of a chart with its subcharts."""
MAX_CHART_USES = 200
"""Charts that a chart uses, each counted as often as it is used: with aliases, a few could be many."""
MAX_CHART_DEPTH = 5
"""Charts in one another."""
HELM_SECONDS = 120
"""Until `helm template` must have ended."""
