"""Workers on Ray. Nothing else in the package imports ray."""
