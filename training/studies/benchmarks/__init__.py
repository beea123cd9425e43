"""What the trainer costs and how right it is."""
