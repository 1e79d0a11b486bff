"""Floor 2: from a path the user typed to one Manifest; copies; splits."""
