"""`lorelay batch`: the requests of a file, asked over the topics and answered into another."""
