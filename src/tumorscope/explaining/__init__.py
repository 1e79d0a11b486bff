"""Floor 4: heatmaps and their score against boxes."""
