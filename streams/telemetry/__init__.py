"""Prometheus metrics of every process, and the port that serves them."""
