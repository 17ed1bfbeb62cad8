# An overlay port for the tree that it lies in: vcpkg install cllm --overlay-ports=packaging/vcpkg
# Rust and make are taken from the system; nothing is written into the tree but what `make` writes.
get_filename_component(tree "${CMAKE_CURRENT_LIST_DIR}/../.." ABSOLUTE)
set(VCPKG_BUILD_TYPE release)

file(MAKE_DIRECTORY "${CURRENT_BUILDTREES_DIR}")
vcpkg_execute_required_process(
    COMMAND make -C "${tree}" install "PREFIX=${CURRENT_PACKAGES_DIR}" FLAT=no MPICC= "CARGO=cargo --locked"
    WORKING_DIRECTORY "${CURRENT_BUILDTREES_DIR}"
    LOGNAME "install-${TARGET_TRIPLET}")

# A triplet has one kind of library; the CMake package and pkg-config do with either.
if(VCPKG_LIBRARY_LINKAGE STREQUAL "static")
    file(GLOB other "${CURRENT_PACKAGES_DIR}/lib/libcllm.so*")
    file(REMOVE "${CURRENT_PACKAGES_DIR}/lib/pkgconfig/cllm.pc")
    file(RENAME "${CURRENT_PACKAGES_DIR}/lib/pkgconfig/cllm-static.pc"
        "${CURRENT_PACKAGES_DIR}/lib/pkgconfig/cllm.pc")
else()
    set(other "${CURRENT_PACKAGES_DIR}/lib/libcllm.a" "${CURRENT_PACKAGES_DIR}/lib/pkgconfig/cllm-static.pc")
endif()
file(REMOVE ${other})

vcpkg_cmake_config_fixup(CONFIG_PATH lib/cmake/cllm)
vcpkg_fixup_pkgconfig()
# The tools are linked with the shared library, which a static triplet has not; they are not for programs.
file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/bin" "${CURRENT_PACKAGES_DIR}/share/man"
    "${CURRENT_PACKAGES_DIR}/share/bash-completion" "${CURRENT_PACKAGES_DIR}/share/doc")
vcpkg_install_copyright(FILE_LIST "${tree}/LICENSE" "${tree}/LICENSE-MIT" "${tree}/LICENSE-APACHE"
    "${tree}/THIRD-PARTY.txt")
