"""Whether a new version is worse than those that serve, looked at again and again. Pure."""
