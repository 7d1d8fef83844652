"""Adapters whose files lie elsewhere: on S3, or on a server behind HTTPS."""
