"""Models of ermongroup/ddim."""
