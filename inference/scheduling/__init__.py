"""Which waiting request the engine gets next: priorities, and fairness within them. Pure."""
