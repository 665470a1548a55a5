"""The bundle on disk: statement, blobs, and the files round them (FORMAT.md)."""
