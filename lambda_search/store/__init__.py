"""The record: SQL tables, the lookup of the best schedules, and leases."""
