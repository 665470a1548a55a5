"""Finds the images that deployment files of other tools would run.

    discover      recognises what files and folders are, and calls their readers
    findings      `FoundImage`, `Problem`, and the collector that readers add them to
    context       what each reader gets: sources, findings, and what the person asked for
    sources       the files that may be read: below the given folders, bounded, regular
    manifest_text the manifest of what was found; compare: what an existing manifest lacks

Readers: compose*, with dotenv and interpolation; devcontainer; image_lists; packages (Hauler, Zarf, …);
kubernetes, with pods, custom_*, operands and image_text; kustomize*; chart*, with helm_program.
"""
