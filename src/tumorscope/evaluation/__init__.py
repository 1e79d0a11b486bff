"""Floor 1: every figure with its interval, from arrays and tables only; never from a model."""
