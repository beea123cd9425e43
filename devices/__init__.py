"""What a device is: cards, equations, kernels. Knows neither SPICE nor training."""

if __name__ == "devices":  # found in the working folder: a second copy of every class
    raise ModuleNotFoundError("the import package is bruno_spice; import bruno_spice.devices", name=__name__)
