"""Tasks whose answers are spikes, and how far spike trains are from those that are wanted."""
