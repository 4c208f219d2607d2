"""Alembic migrations of the `ls_` tables."""
