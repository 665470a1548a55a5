"""Which trust root a site has: the first one, the next one, and how it is installed."""
