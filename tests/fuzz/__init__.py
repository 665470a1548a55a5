"""Parsers of what comes from elsewhere, fed with any bytes: targets, a kept corpus and a coverage-guided search."""
