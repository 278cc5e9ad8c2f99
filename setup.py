"""Install marl_nb from the values in settings.ini."""

from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
parser = ConfigParser(delimiters=["="])
parser.read(here / "settings.ini", encoding="utf-8")
cfg = parser["DEFAULT"]

setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=cfg["author"],
    author_email=cfg["author_email"],
    url=cfg["git_url"],
    license="Apache-2.0",
    keywords=cfg["keywords"],
    python_requires=">=" + cfg["min_python"],
    packages=find_packages(include=[cfg["lib_path"], cfg["lib_path"] + ".*"]),
    package_data={cfg["lib_path"]: ["data/*", "data/*/*"]},
    install_requires=cfg["requirements"].split(),
    extras_require={extra: cfg[extra + "_requirements"].split()
                    for extra in ("sc2", "tensorboard", "wandb", "sb3", "mettagrid", "docs", "dev")},
    entry_points={
        "console_scripts": ["marl-nb = marl_nb.core.cli:main"],
        "nbdev": [f"{cfg['lib_name']} = {cfg['lib_path']}._modidx:d"],
    },
    zip_safe=False,
)
