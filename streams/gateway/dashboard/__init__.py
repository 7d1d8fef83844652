"""The live page: what it shows, from records to events, and the files it is made of."""
