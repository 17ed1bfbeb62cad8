#!/usr/bin/env bash
# Builds the library for 64-bit ARM and tests it under emulation: c_tests/arm64.sh [short|all]
# short: the bits of training and logits with NEON, the ABI. all: also the portable code's bits, the kernels'
# tests, golden vectors, harnesses, hostile arguments, tools. docs/PORTING.md says what has to be installed; where it is not,
# nothing is tested and the exit status is 0. The last line is the total.
set -u
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C

target=aarch64-unknown-linux-gnu
what=${1:-all}
left_out() {
    echo "ARM64 left out: $1 (docs/PORTING.md)"
    exit 0
}
case $what in short | all) ;; *) echo "usage: $0 [short|all]" >&2 && exit 2 ;; esac
for tool in aarch64-linux-gnu-gcc qemu-aarch64-static; do
    command -v "$tool" > /dev/null || left_out "$tool is not installed"
done
# The libraries of an ARM system itself: those for cross-compilers wait for ever in pthread_create
# when emulated.
[ -e /lib/ld-linux-aarch64.so.1 ] || left_out "libc6:arm64 is not installed"
# rustup's Rust, if it has the target, or else the distribution's.
cargo=(cargo)
if [ ! -d "$(rustc --print target-libdir --target $target 2> /dev/null)" ]; then
    [ -d "$(/usr/bin/rustc --print target-libdir --target $target 2> /dev/null)" ] ||
        left_out "no Rust here has $target"
    cargo=(env RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc /usr/bin/cargo)
fi

work=build/arm64
mkdir -p "$work"
export CARGO_TARGET_DIR=$PWD/$work/target
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=qemu-aarch64-static
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
# Optimised, for emulation is slow; without what makes the building of a release slow.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16

passed=0
failed=0
# count NAME PASSED FAILED
count() {
    passed=$((passed + $2)) failed=$((failed + $3))
    printf '%-34s %6d passed, %d failed\n' "$1" "$2" "$3"
}

# rust NAME ARGUMENTS...: cargo test.
rust() {
    local name=$1 status good bad
    shift
    "${cargo[@]}" test --quiet --release --target $target "$@" > "$work/log" 2>&1
    status=$?
    good=$(awk '/^test result:/ { n += $4 } END { print n + 0 }' "$work/log")
    bad=$(awk '/^test result:/ { n += $6 } END { print n + 0 }' "$work/log")
    [ "$status" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
    [ "$bad" -ne 0 ] && tail -n 40 "$work/log" >&2
    count "$name" "$good" "$bad"
}

# The emulator takes no advice about huge pages.
kernels=(-p cllm-kernels --lib -- --skip large_blocks_ask_for_huge_pages)
[ "$what" = all ] && rust "kernels" "${kernels[@]}"
bits=(-p cllm-engine --test bits the_bits_are_those_written_down)
# One process for each set of instructions: an emulated program can't start another one.
levels=(neon)
[ "$what" = all ] && levels+=(portable)
for level in "${levels[@]}"; do
    CLLM_SIMD=$level rust "bits ($level)" "${bits[@]}"
done
# A processor without the dot-product extension.
QEMU_CPU=cortex-a72 rust "bits (cortex-a72)" "${bits[@]}"
[ "$what" = all ] && QEMU_CPU=cortex-a72 rust "8-bit products (cortex-a72)" -p cllm-kernels --lib int8
[ "$what" = all ] && rust "golden vectors" -p cllm --test golden

if "${cargo[@]}" build --quiet --release -p cllm-shipped --target $target; then
    # The tests in C, in a copy of what they need, with this library in it.
    tree=$work/tree
    rm -rf "$tree"
    mkdir -p "$tree"
    cp -R c_tests include tools docs examples tests README.md Makefile packaging "$tree"
    cp "$CARGO_TARGET_DIR/$target/release/libcllm_shipped.so" "$tree/libcllm.so"
    ln -sf libcllm.so "$tree/libcllm.so.1"
    for name in crystalline algorithms primemath; do echo 'INPUT(-lcllm)' > "$tree/lib$name.so"; done
    parts=(abi)
    if [ "$what" = all ]; then
        parts+=(harness hostile tools)
        tools=(tools/{train_model,cllm_inference,cllm_inference_fixed,cllm_tokenize,cllm_vocab_build,cllm_info})
        (cd "$tree" && rm -f "${tools[@]}")
        make -s -C "$tree" -o libcllm.so -o libcllm.so.1 CC=aarch64-linux-gnu-gcc "${tools[@]}"
        # The tests start them by their names, and not every system gives such programs to the emulator itself.
        for tool in "${tools[@]}"; do
            mv "$tree/$tool" "$tree/$tool.arm64"
            printf '#!/bin/sh\nexec qemu-aarch64-static -0 "$0" "$0.arm64" "$@"\n' > "$tree/$tool"
            chmod +x "$tree/$tool"
        done
    fi
    # Minutes each: models of 0.6 GB, and everything once more.
    HOSTILE_SKIP=cllm_create_medium_model,cllm_create_large_model,cllm_run_benchmark_suite
    export HOSTILE_SKIP=$HOSTILE_SKIP,cllm_generate_performance_report HOSTILE_SECONDS=300
    CC=aarch64-linux-gnu-gcc RUN_THROUGH=qemu-aarch64-static limit=3600 "$tree/c_tests/run.sh" plain "${parts[@]}" |
        tee "$work/log"
    if [[ $(tail -n 1 "$work/log") =~ ([0-9]+)\ passed,\ ([0-9]+)\ failed ]]; then
        passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
    else
        failed=$((failed + 1))
    fi
else
    count "the library" 0 1
fi
printf 'total (arm64): %d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
