"""Reports for people: figures, and pages that a browser shows without a network or a server."""
