"""Models in, rows of measures out: what the commands are made of."""
