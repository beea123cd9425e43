"""A neuron's card from membrane traces in files: an oscilloscope's, or a simulator's that is not ours."""
