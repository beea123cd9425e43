"""The neuron's card: fit, validation, spread and confidence."""
