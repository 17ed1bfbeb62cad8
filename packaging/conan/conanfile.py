"""A Conan 2 recipe for the tree that it lies in: conan create packaging/conan [-o shared=True]

Rust and make are taken from the system.
"""

import os
import re
import shutil
import subprocess

from conan import ConanFile
from conan.errors import ConanInvalidConfiguration
from conan.tools.files import copy, load, rm, rmdir


class Cllm(ConanFile):
    name = "cllm"
    description = "Small language models inside C programs: train, save, load, generate and score on the CPU"
    license = "MIT OR Apache-2.0"
    topics = ("language-model", "transformer", "inference", "training")
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"shared": [True, False]}
    default_options = {"shared": False}

    @property
    def _tree(self):
        return os.path.join(self.recipe_folder, "..", "..")

    def set_version(self):
        manifest = load(self, os.path.join(self._tree, "Cargo.toml"))
        self.version = re.search(r'^version = "(.*)"$', manifest, re.M).group(1)

    def export_sources(self):
        listed = subprocess.run(
            ["git", "-C", self._tree, "ls-files", "-z"], check=True, capture_output=True, text=True)
        for file in filter(None, listed.stdout.split("\0")):
            target = os.path.join(self.export_sources_folder, file)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy2(os.path.join(self._tree, file), target)

    def configure(self):
        # A C interface: neither the compiler's standard library nor a debug build of it matters.
        self.settings.rm_safe("compiler.cppstd")
        self.settings.rm_safe("compiler.libcxx")

    def validate(self):
        if self.settings.os != "Linux" or self.settings.arch not in ("x86_64", "armv8"):
            raise ConanInvalidConfiguration("cllm is for Linux on x86-64 and ARM64")

    def build(self):
        self.run("make all CARGO='cargo --locked' MPICC=")

    def package(self):
        self.run(f"make install PREFIX='{self.package_folder}' FLAT=no CARGO='cargo --locked' MPICC=")
        other = "libcllm.a" if self.options.shared else "libcllm.so*"
        rm(self, other, os.path.join(self.package_folder, "lib"))
        if not self.options.shared:
            # The tools are linked with the shared library.
            rmdir(self, os.path.join(self.package_folder, "bin"))
        copy(self, "LICENSE*", self.source_folder, os.path.join(self.package_folder, "licenses"))
        copy(self, "THIRD-PARTY.txt", self.source_folder, os.path.join(self.package_folder, "licenses"))
        rmdir(self, os.path.join(self.package_folder, "lib", "pkgconfig"))
        rmdir(self, os.path.join(self.package_folder, "lib", "cmake"))
        rmdir(self, os.path.join(self.package_folder, "share"))

    def package_info(self):
        self.cpp_info.libs = ["cllm"]
        self.cpp_info.includedirs = ["include", os.path.join("include", "cllm")]
        self.cpp_info.set_property("cmake_file_name", "cllm")
        self.cpp_info.set_property("cmake_target_name", "cllm::cllm")
        self.cpp_info.set_property("pkg_config_name", "cllm")
        if not self.options.shared:
            self.cpp_info.system_libs = ["util", "rt", "pthread", "m", "dl"]
