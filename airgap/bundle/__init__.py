"""The bundle on disk: the statement, the blobs, and the files around them (FORMAT.md)."""
