"""Writes the manifest's JSON Schema to standard output."""

import sys

from airgap.manifest.model import json_schema

sys.stdout.write(json_schema())
