"""How a layer goes through a millisecond, and how a gradient comes back."""
