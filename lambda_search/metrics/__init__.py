"""Features, moments, Fréchet distances, and how sure they are."""
