"""Everything a package index wants to know, read from settings.ini: the one place where it is written."""
from configparser import ConfigParser
from pathlib import Path
from shutil import copyfile
from setuptools import setup, find_packages
from setuptools.command.build_py import build_py

here = Path(__file__).parent
parser = ConfigParser(delimiters=["="], interpolation=None)
parser.read(here / "settings.ini", encoding="utf-8")
settings = parser["DEFAULT"]

extras = {name.removesuffix("_requirements"): value.split()
          for name, value in settings.items() if name.endswith("_requirements")}
readme = here / "README.md"


class WithWeights(build_py):
    "A wheel carries the weights that published runs ship, so that `pretrained()` works from it."
    def run(self):
        super().run()
        if self.editable_mode: return
        target = Path(self.build_lib)/"paper_kit"/"assets"/"weights"
        for file in sorted(here.glob("figures/*/weights.safetensors")):
            target.mkdir(parents=True, exist_ok=True)
            copyfile(file, target/f"{file.parent.name}.safetensors")


setup(
    name=settings["lib_name"], version=settings["version"], description=settings["description"],
    long_description=readme.read_text(encoding="utf-8") if readme.exists() else "",
    long_description_content_type="text/markdown",
    keywords=settings["keywords"], author=settings["author"], author_email=settings["author_email"],
    license="Apache-2.0", python_requires=f">={settings['min_python']},<3.14",
    packages=find_packages(include=["paper_kit", "paper_kit.*"]), include_package_data=True,
    package_data={"paper_kit": ["assets/*", "assets/**/*"]},
    install_requires=settings["requirements"].split(), extras_require=extras,
    entry_points={"console_scripts": settings["console_scripts"].split(),
                  "nbdev": ["paper_kit=paper_kit._modidx:d"]},
    classifiers=["Development Status :: 3 - Alpha", "Intended Audience :: Science/Research",
                 "Programming Language :: Python :: 3.11", "Programming Language :: Python :: 3.12",
                 "Programming Language :: Python :: 3.13"],
    cmdclass={"build_py": WithWeights}, zip_safe=False,
)
