"""Statistics of real images: read, made, kept, fetched."""
