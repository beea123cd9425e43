"""Training runs: the folder, the trainer, evaluation, checkpoints."""
