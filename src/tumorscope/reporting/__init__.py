"""Floor 5: a run folder made readable: one self-contained HTML file."""
