"""What a device is: cards, equations, kernels. Knows neither SPICE nor training."""
