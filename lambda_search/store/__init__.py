"""The record: SQL tables, the lookup of the best schedules, leases, and the files of features."""
