#!/usr/bin/env bash
# The host's world: what programs, containers, shells and checkers of memory do around the library.
# The last line is "N passed, N failed"; reasons on stderr.
cd "$(dirname "$0")/.." || exit 1
. c_tests/check.sh
tree=$PWD
CC=${CC:-cc}
CXX=${CXX:-c++}
unset CLLM_SIMD CLLM_NUM_THREADS

build() { # build SOURCE PROGRAM [FLAGS...]
    "$CC" -std=c11 -Wall -Wextra -Werror -g -Iinclude -Ic_tests "$1" -o "$2" "${@:3}" -L. -lcllm -lm -lpthread \
        "-Wl,-rpath,$tree"
}
check "a program builds" build c_tests/host_program.c "$work/program"
says() { grep -qF -- "$1" "$work/stderr"; }
run() { "$@" > "$work/stdout" 2> "$work/stderr"; }
check "it runs" run "$work/program" "$work"
want=$(cat "$work/stdout")
same_result() { test -n "$want" && test "$(cat "$work/stdout")" = "$want"; }
quiet() { ! grep . "$work/stderr"; }
check "nothing on stderr" quiet

# ---- Environment variables ----
check "an unknown CLLM_SIMD: runs" run env CLLM_SIMD=bogus "$work/program" "$work"
check "an unknown CLLM_SIMD: the same result" same_result
check "an unknown CLLM_SIMD is said" says "CLLM_SIMD=bogus"
check "an unknown CLLM_SIMD is said once" test "$(grep -c CLLM_SIMD "$work/stderr")" -eq 1
check "a slip of the name: runs" run env CLLM_SMID=avx2 "$work/program" "$work"
check "a slip of the name is said" says "CLLM_SMID is not known; is CLLM_SIMD meant?"
check "other variables: runs" run env CLLM_MODEL=x CLLM_SIMD= RUST_MIN_STACK=1 RUST_BACKTRACE=1 \
    "$work/program" "$work"
check "other variables and an empty one are no matter" quiet
check "other variables: the same result" same_result
check "CLLM_SIMD=portable: runs" run env CLLM_SIMD=portable "$work/program" "$work"
check "CLLM_SIMD=portable is known" quiet
for threads in 1 2 300; do
    check "CLLM_NUM_THREADS=$threads: runs" run env CLLM_NUM_THREADS="$threads" "$work/program" "$work"
    check "CLLM_NUM_THREADS=$threads: the same result" same_result
    check "CLLM_NUM_THREADS=$threads is known" quiet
done
check "CLLM_NUM_THREADS=two: runs" run env CLLM_NUM_THREADS=two "$work/program" "$work"
check "CLLM_NUM_THREADS=two: the same result" same_result
check "CLLM_NUM_THREADS=two is said" says "CLLM_NUM_THREADS=two"
check "a slip of CLLM_NUM_THREADS: runs" run env CLLM_NUM_THREAD=2 "$work/program" "$work"
check "a slip of CLLM_NUM_THREADS is said" says "CLLM_NUM_THREAD is not known; is CLLM_NUM_THREADS meant?"
check "the tools say it, --quiet too" run env CLLM_SIMD=bogus tools/train_model c_tests/host.sh --tokens words --quiet --epochs 1 \
    --embed-dim 8 --num-layers 1 --num-heads 1 --seq-len 8 --max-steps 1 --checkpoint-dir "$work/checkpoints"
check "the tools say it as a warning, --quiet too" says "train_model: warning: CLLM_SIMD=bogus"
check "the tools say it once" test "$(grep -c CLLM_SIMD "$work/stderr")" -eq 1
check "the tools say it" run env CLLM_SIMD=bogus tools/cllm_inference "$work/host.cllm" -p token_7 -n 2
check "the tools say it as a warning" says "cllm_inference: warning: CLLM_SIMD=bogus"

# ---- Locale, umask, working directory ----
locale=$(locale -a 2> /dev/null | grep -m1 -E '^(de|fr|es|it|pt|ru|pl)_.*(utf8|UTF-8)$')
if [ -n "$locale" ]; then
    check "a locale with decimal commas: runs" run env LC_ALL="$locale" "$work/program" "$work"
    check "a locale with decimal commas: the same result" same_result
else
    skip "a locale with decimal commas" "none is installed"
fi
in_folder() { (umask "$1" && cd "$work" && run "$work/program" .); }
for mask in 077:600 022:644 000:666; do
    rm -f "$work/host.cllm"
    check "umask ${mask%:*}: runs" in_folder "${mask%:*}"
    check "umask ${mask%:*} holds for files" test "$(stat -c %a "$work/host.cllm")" = "${mask#*:}"
    check "umask ${mask%:*}: the same result" same_result
done
check "the library reads its environment only: no setlocale, umask, chdir, signal" bash -c \
    "! nm -D --undefined-only libcllm.so | grep -wE 'setlocale|umask|chdir|fchdir|signal|sigaction|setenv|putenv'"

# ---- Threads that can't be started ----
# A limit on processes does not hold for root.
limited=()
if [ "$(id -u)" -ne 0 ]; then
    limited=(prlimit --nproc=1)
elif command -v setpriv > /dev/null && command -v prlimit > /dev/null; then
    limited=(setpriv --reuid=54321 --regid=54321 --clear-groups prlimit --nproc=1)
fi
mkdir "$work/open" && chmod 777 "$work" "$work/open"
if [ "${#limited[@]}" -gt 0 ] && "${limited[@]}" test -r "$tree/libcllm.so.1" 2> /dev/null; then
    if [ "$(nproc)" -gt 1 ]; then
        check "no threads: runs" run "${limited[@]}" "$work/program" "$work/open"
        check "no threads: the same result" same_result
        check "no threads: said" says "can't start"
        check "no threads: the pool says how many work" says "1 thread of 3"
    else
        skip "threads that can't be started" "one processor starts none"
    fi
else
    skip "threads that can't be started" "setpriv or prlimit can't be used"
fi

# ---- Checkers of memory ----
if command -v valgrind > /dev/null; then
    valgrind=(env CLLM_SIMD=avx2 valgrind --quiet --leak-check=full --error-exitcode=9)
    for way in return exit handler; do
        check "valgrind finds nothing: $way" run "${valgrind[@]}" "$work/program" "$work" "$way"
        check "valgrind reports nothing: $way" quiet
    done
else
    skip "valgrind" "it is not installed"
fi

# ---- The end of the process ----
for way in return exit busy handler callback log _exit fork; do
    check "a process that ends by $way" run timeout 60 "$work/program" "$work" "$way"
done
check "exit() in a signal handler, at any moment" run timeout 300 "$work/program" "$work" signals

# ---- dlclose ----
check "a plugin builds" "$CC" -std=c11 -Wall -Wextra -Werror -DPLUGIN -Iinclude c_tests/host_program.c \
    -o "$work/plugin" -ldl -lpthread
check "dlclose leaves the library" run timeout 60 "$work/plugin" "$tree/libcllm.so"

# ---- C++ ----
check "C++: builds" "$CXX" -std=c++17 -Wall -Wextra -Wpedantic -Werror -Iinclude c_tests/host.cpp \
    -L. -lcllm "-Wl,-rpath,$tree" -o "$work/cpp"
check "C++: moved-from objects throw, exceptions of callbacks come back" run "$work/cpp"

finish
