"""Floor 1: bytes to pixels, pixels to cached tensors, batches and augmentation."""
