"""Floor 2: CNNs and timm backbones behind one registry."""
