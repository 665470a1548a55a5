"""The page that an officer reads, prints and signs: HTML without scripts, links or other files."""
