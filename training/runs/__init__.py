"""A training run: its folder, the loop, checkpoints, scores, figures."""
