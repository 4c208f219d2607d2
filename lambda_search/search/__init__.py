"""The search: proposals, rungs, confirmation, and the driver that runs a study."""
