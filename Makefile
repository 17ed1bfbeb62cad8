# The human entry point; cargo builds the library. `make help` lists the targets.
CARGO  ?= cargo
CC     ?= cc
CFLAGS ?= -O2 -g
OBJCOPY ?= objcopy
BUILT  := $(or $(CARGO_TARGET_DIR),target)/release

# The library says when it was built. That is the date of the commit, so that the same source gives the
# same library; SOURCE_DATE_EPOCH says another one.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2> /dev/null || stat -c %Y CHANGELOG.md)
export SOURCE_DATE_EPOCH

TOOL_CC     = $(CC)
TOOL_CFLAGS := -std=c11 -Wall -Wextra -Iinclude $(CFLAGS)
# The tools find the library beside them; LD_LIBRARY_PATH goes first.
TOOL_LIBS   := -L. -lcllm -lm -Wl,-rpath,'$$ORIGIN/..'
# train_model over the ranks of an MPI job, where there is an MPI.
MPICC       := $(shell command -v mpicc)
TOOLS       := tools/train_model tools/cllm_inference tools/cllm_inference_fixed \
               tools/cllm_tokenize tools/cllm_vocab_build tools/cllm_info $(if $(MPICC),tools/train_model_mpi)

# Other names of the library, for the link lines of old programs.
COMPAT_SO := libcrystalline.so libalgorithms.so libprimemath.so
COMPAT_A  := $(COMPAT_SO:.so=.a)

# install and uninstall
include packaging/install.mk

.PHONY: all lib headers test test-valgrind test-asan test-reliability test-fuzz test-tsan test-loom test-arm64 test-arm64-short test-python test-reproducible bench fmt lint clean help FORCE

all: lib $(TOOLS)

lib: libcllm.so libcllm.so.1 libcllm.a $(COMPAT_SO) $(COMPAT_A)

# cargo knows what is stale; what depends on these is made only when they changed.
SHIPPED := $(BUILT)/libcllm_shipped
# Names of folders get into the debug data, and a checksum of those into the installed library. It is to be
# the same wherever it is built: there this folder is ".", and cargo's is "/cargo".
CARGO_FOLDER := $(or $(CARGO_HOME),$(HOME)/.cargo)
$(SHIPPED).so $(SHIPPED).a &: FORCE
	$(CARGO) build --release -p cllm-shipped --config \
	    'build.rustflags=["--remap-path-prefix=$(CARGO_FOLDER)=/cargo", "--remap-path-prefix=$(CURDIR)=."]'

# By a rename: programs that run keep the file that they have open.
libcllm.so: $(SHIPPED).so
	@cp $< $@.new && mv $@.new $@

libcllm.a: $(SHIPPED).a libcllm.so packaging/archive.sh
	@LD='$(LD)' AR='$(AR)' OBJCOPY='$(OBJCOPY)' packaging/archive.sh $< libcllm.so $@.new && mv $@.new $@

libcllm.so.1: libcllm.so
	@ln -sf $< $@

# Linker scripts: old link lines end in -lcllm -lcrystalline -lalgorithms, or in -lprimemath.
$(COMPAT_SO): Makefile
	@echo 'INPUT(-lcllm)' > $@

# The name of the file, so that they find libcllm.a beside them without -L, too.
$(COMPAT_A): Makefile
	@echo 'INPUT(libcllm.a)' > $@

tools/train_model: tools/train_alone.c
tools/train_model_mpi: tools/train_model.c tools/train_share.c
tools/train_model_mpi: TOOL_CC = OMPI_CC='$(CC)' MPICH_CC='$(CC)' $(MPICC) -pthread
tools/train_model tools/train_model_mpi: $(addprefix tools/train_,options.c defaults.c data.c words.c subwords.c texts.c prepare.c \
                   mix.c setup.c folder.c metrics.c finish.c) tools/train_model.h
tools/train_model tools/train_model_mpi tools/cllm_vocab_build: tools/text_files.c tools/text_files.h tools/read_texts.c tools/read_texts.h
tools/train_model tools/train_model_mpi tools/cllm_tokenize tools/cllm_vocab_build: tools/vocabulary.c tools/vocabulary.h
$(filter-out tools/cllm_inference_fixed,$(TOOLS)): tools/tokens.c tools/tokens.h
tools/cllm_inference: tools/inference_session.c tools/inference_session.h

tools/%: tools/%.c tools/common.c tools/files.c tools/common.h tools/terminal.c tools/terminal.h libcllm.so libcllm.so.1
	$(TOOL_CC) $(CPPFLAGS) $(TOOL_CFLAGS) -o $@ $(filter %.c,$^) $(LDFLAGS) $(TOOL_LIBS)

tools/cllm_inference_fixed: tools/cllm_inference
	cp -f $< $@

headers: ## write include/ from src/headers/
	CLLM_WRITE_HEADERS=1 $(CARGO) check

test: all ## all tests: Rust, C harnesses, ABI, headers, symbols, tools, README
	c_tests/run.sh plain

test-valgrind: all ## C harnesses and tools under valgrind
	c_tests/run.sh valgrind

test-asan: all ## all programs in C built with AddressSanitizer and UBSan
	c_tests/run.sh asan

test-reliability: all ## kills, hostile files, injected faults, fuzzing: within ten minutes
	c_tests/run.sh reliability

test-fuzz: ## twenty seconds of each fuzz target, where the toolchain can build them
	c_tests/run.sh fuzz

test-tsan: ## Rust tests under ThreadSanitizer, where the toolchain has its library's source
	c_tests/run.sh tsan

test-loom: ## the hand-over of work between threads, in every order: a minute or two
	c_tests/run.sh loom

test-arm64: ## built for 64-bit ARM and tested under emulation; docs/PORTING.md says with what
	@c_tests/arm64.sh all

test-arm64-short: ## the bits and the ABI of it
	@c_tests/arm64.sh short

# In an environment of its own, in build/. pip fetches what is missing: without venv or network there is
# nothing to test with.
test-python: lib ## the Python package: built, installed, its tests, its types
	@packaging/test_python.sh

test-reproducible: ## builds in two folders, from vendored sources, without a network: the same library
	@packaging/reproducible.sh

bench: all ## timings
	$(CARGO) bench -p cllm-benches

fmt:
	$(CARGO) fmt

lint: ## format, clippy, rustdoc: no warnings; licences of what is linked in: current and allowed
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps
	packaging/third_party.py --check

clean:
	$(CARGO) clean
	rm -rf build libcllm.so libcllm.so.1 libcllm.a $(COMPAT_SO) $(COMPAT_A) $(TOOLS)

help:
	@echo 'make                library, linker scripts and tools'
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20
