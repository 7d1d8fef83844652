"""The worker process: requests in, answers out, exactly once."""
