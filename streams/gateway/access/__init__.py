"""Who may do what at the gateway, and how much of it."""
