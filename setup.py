"""Finds the packages: `attacks/` and `synth/` are installed as `privaudit.attacks` and `privaudit.synth`."""

from setuptools import find_packages, setup

PLUGIN_FOLDERS = ("attacks", "synth")

packages = find_packages(include=["privaudit", "privaudit.*"])
package_dir = {"privaudit": "privaudit"}
for folder in PLUGIN_FOLDERS:
    packages += [f"privaudit.{folder}", *(f"privaudit.{folder}.{name}" for name in find_packages(folder))]
    package_dir[f"privaudit.{folder}"] = folder

setup(packages=packages, package_dir=package_dir)
