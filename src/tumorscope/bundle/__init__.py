"""Floor 3: a trained model as one checked folder, and the predictor that runs it."""
