"""Floor 3: checks with codes: what is wrong with this folder."""
