"""How selection grows with its adapters, learns beside live traffic, and encodes."""
