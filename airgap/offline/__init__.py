"""Work that needs a target: loading a bundle's images into it, and serving them as a registry."""
