"""What losses learn from: preference pairs, or examples. One file per unit."""
