"""Metric windows in a PostgreSQL table."""
