"""Reports for people: figures and one self-contained page."""
