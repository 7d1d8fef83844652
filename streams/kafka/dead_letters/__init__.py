"""Dead letters: how a record that nobody can handle is kept, found, written again and given up."""
