"""The gateway: HTTP in front of the topics, so that every request has the same promises."""
