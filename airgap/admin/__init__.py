"""The trust root of a site: making the first one, changing it, and installing it."""
