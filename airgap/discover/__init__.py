"""Finds the images that deployment files of other tools would run.

findings      `FoundImage`, `Problem`, and the collector that readers add them to
context       what each reader gets: sources, findings, and what the person asked for
sources       the files that may be read: below the given folders, bounded, regular
"""
