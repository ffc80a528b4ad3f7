"""Builds the wheel with the project's own files in it, which `yoloslim init` copies; all else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

FILES = ("dvc.yaml", "params.yaml", "prefect.yaml", ".gitignore", ".dvcignore", ".dvc/config")
FOLDERS = {"pipeline": ("*.py",), "flows": ("*.py", "*.json")}


class BuildWithProject(build_py):
    """Copies them below yoloslim/project; an editable install reads them where they lie."""

    def run(self) -> None:
        """See the base class."""
        super().run()
        if self.editable_mode:
            return
        root, target = Path(__file__).parent, Path(self.build_lib) / "yoloslim" / "project" / "files"
        shutil.rmtree(target, ignore_errors=True)
        inside = [path for folder, kinds in FOLDERS.items() for kind in kinds for path in (root / folder).glob(kind)]
        for path in (*(root / name for name in FILES), *inside):
            place = target / path.relative_to(root)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


setup(cmdclass={"build_py": BuildWithProject})
