"""One import package, `bruno_spice`, from the folders at the top: `devices/` is `bruno_spice.devices`, and so on."""

from setuptools import find_packages, setup

FOLDERS = ("devices", "calibration", "training", "spice_netlists")
inner = [name for folder in FOLDERS for name in find_packages(include=[folder, f"{folder}.*"])]

setup(
    packages=["bruno_spice", "bruno_spice.data", *(f"bruno_spice.{name}" for name in inner)],
    package_dir={"bruno_spice": "bruno_spice", "bruno_spice.data": "data"}
    | {f"bruno_spice.{folder}": folder for folder in FOLDERS},
)
