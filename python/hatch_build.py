"""Puts libcllm.so into the wheel and says on which systems it runs.

The library is built by make and cargo from the folder above this one, as the one that is installed. Where
one is built already, its path in CLLM_BUILT_LIBRARY takes the place of that.
"""

import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Dict

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LICENCES = ("LICENSE", "LICENSE-MIT", "LICENSE-APACHE", "THIRD-PARTY.txt")


def built_library(tree: Path) -> Path:
    """The library, built now or before."""
    ready = os.environ.get("CLLM_BUILT_LIBRARY")
    if ready:
        library = Path(ready)
        if not library.is_file():
            raise RuntimeError(f"CLLM_BUILT_LIBRARY: {ready} is no file")
        return library
    if not (tree / "Cargo.toml").is_file():
        raise RuntimeError(f"the sources of the library are not in {tree}: build from a clone")
    cargo = os.environ.get("CARGO", "cargo")
    if shutil.which(cargo) is None:
        raise RuntimeError("cargo is missing: install Rust 1.89 or later, from https://rustup.rs")
    if shutil.which("make") is None:
        raise RuntimeError("make is missing")
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    library = target / "release" / "libcllm_shipped.so"
    # What cargo reports goes to pip, which shows it where the build fails or with -v.
    subprocess.run(["make", f"CARGO={cargo} --locked", str(library)], cwd=tree, check=True)
    return (tree / library).resolve()


def platform_tag(library: Path) -> str:
    """manylinux_X_Y of the newest glibc that the library asks for; it needs nothing else."""
    versions = re.findall(rb"\0GLIBC_(\d+)\.(\d+)(?:\.\d+)?(?=\0)", library.read_bytes())
    machine = platform.machine()
    if platform.system() != "Linux" or not versions:
        raise RuntimeError(f"{library} is no library for Linux with glibc")
    major, minor = max((int(major), int(minor)) for major, minor in versions)
    return f"manylinux_{major}_{minor}_{machine}"


class CustomBuildHook(BuildHookInterface):  # type: ignore[misc]
    """Called by hatchling before a wheel is put together."""

    def initialize(self, version: str, build_data: Dict[str, Any]) -> None:
        if version == "editable":
            # An editable package reads the library of the tree that it stands in.
            return
        tree = Path(self.root).parent
        library = built_library(tree)
        self.folder = tempfile.mkdtemp()
        stripped = Path(self.folder) / "libcllm.so.1"
        shutil.copyfile(library, stripped)
        # Without its debug data it is a fifth as large; without strip it works as well.
        if shutil.which("strip"):
            subprocess.run(["strip", "--strip-unneeded", str(stripped)], check=True)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform_tag(stripped)}"
        build_data["force_include"][str(stripped)] = "cllm/libcllm.so.1"
        for name in LICENCES:
            if (tree / name).is_file():
                build_data["force_include"][str(tree / name)] = f"cllm/licences/{name}"

    def finalize(self, version: str, build_data: Dict[str, Any], artifact_path: str) -> None:
        folder = getattr(self, "folder", None)
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
