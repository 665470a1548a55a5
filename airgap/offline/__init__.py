"""The isolated side: proving bundles, and bringing their images to a target."""
