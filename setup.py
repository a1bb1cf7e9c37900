"""What pyproject.toml cannot say: in the package, the folder `configs` lies inside `al_lightning`."""

from setuptools import find_namespace_packages, setup

configs = [f"al_lightning.{name}" for name in find_namespace_packages(include=["configs*"])]
setup(
    packages=[*find_namespace_packages(include=["al_lightning*"]), *configs],
    package_dir={"al_lightning.configs": "configs"},
)
