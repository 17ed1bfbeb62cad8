# make install, install-compat, uninstall: where things go when the library is installed.
#   make install PREFIX=/usr LIBDIR=/usr/lib/x86_64-linux-gnu DESTDIR=/tmp/package
# Included from the Makefile.
.DEFAULT_GOAL := all
PREFIX     ?= /usr/local
BINDIR     ?= $(PREFIX)/bin
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR     ?= $(PREFIX)/share/man
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig
CMAKEDIR   ?= $(LIBDIR)/cmake/cllm
BASHCOMPDIR ?= $(PREFIX)/share/bash-completion/completions
DOCDIR     ?= $(PREFIX)/share/doc/cllm
INSTALL    ?= install

VERSION := $(shell sed -n 's/^version = "\(.*\)"$$/\1/p;/^version/q' Cargo.toml)
# What a program needs besides libcllm.a; c_tests/install.sh compares it with what rustc says. The
# library for unwinding is the C compiler's affair: there are two, and -static needs the other one.
NATIVE_LIBS := -lutil -lrt -lpthread -lm -ldl -lc

# Installed tools find the library in the usual places beside bin/; elsewhere ldconfig helps.
TOOL_LIBS += -Wl,-rpath,'$$ORIGIN/../lib:$$ORIGIN/../lib64:$$ORIGIN/../lib/x86_64-linux-gnu'

MAN_PAGES := $(wildcard man/*.1)
# The headers lie in INCLUDEDIR/cllm, for <cllm/cllm_ext.h>, and once more in INCLUDEDIR itself, where
# programs of the old API look for them; FLAT=no leaves those out. pkg-config and CMake name both folders.
FLAT      ?= yes
HEADERS   := $(patsubst include/%,%,$(wildcard include/*.h include/*.hpp include/ai/*.h))
LICENCES  := LICENSE LICENSE-MIT LICENSE-APACHE THIRD-PARTY.txt
# Pages for users and the examples, below DOCDIR in folders as here, so that the links between them hold.
# By their kinds: what a user of the tree has built in examples/ stays there.
DOCS      := $(filter-out docs/RELEASING.md,$(wildcard docs/*.md)) python/README.md examples/README.md \
             $(foreach kind,*.c *.cpp *.py *.rs *.sbatch Cargo.toml,$(wildcard examples/*/$(kind)))
# Inner ones first, as rmdir wants them.
DOC_DIRS  := $(sort $(filter examples/%/,$(dir $(DOCS)))) docs python examples

fill = PREFIX='$(PREFIX)' LIBDIR='$(LIBDIR)' INCLUDEDIR='$(INCLUDEDIR)' CMAKEDIR='$(CMAKEDIR)' \
    VERSION='$(VERSION)' NATIVE_LIBS='$(NATIVE_LIBS)' packaging/fill.sh

# The shared library goes without its debug data, four fifths of what cargo builds; install-debug puts
# them where gdb looks for them.
SO_NAME := libcllm.so.$(VERSION)
STRIP_SO := $(OBJCOPY) --strip-unneeded --add-gnu-debuglink=cllm.debug

.PHONY: install install-compat install-debug uninstall built

# Under sudo there may be no cargo: then what `make` left is installed.
built:
	@for file in libcllm.so libcllm.a $(TOOLS); do \
	    test -e $$file || { echo "$$file is missing: run make first" >&2; exit 1; }; \
	done

install: $(if $(shell command -v $(CARGO) 2> /dev/null),all,built) ## library, headers, pkg-config and CMake files, tools, manuals, guide, examples: PREFIX, DESTDIR, LIBDIR, INCLUDEDIR
	@$(fill) packaging/cllm.pc.in > /dev/null
	$(INSTALL) -d '$(DESTDIR)$(LIBDIR)' '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(MANDIR)/man1' \
	    '$(DESTDIR)$(PKGCONFIGDIR)' '$(DESTDIR)$(CMAKEDIR)' \
	    '$(DESTDIR)$(BASHCOMPDIR)' '$(DESTDIR)$(DOCDIR)'
	mkdir -p build
	$(OBJCOPY) --only-keep-debug libcllm.so build/cllm.debug
	cd build && $(STRIP_SO) ../libcllm.so libcllm.stripped.so
	$(INSTALL) -m 755 build/libcllm.stripped.so '$(DESTDIR)$(LIBDIR)/$(SO_NAME)'
	ln -sf $(SO_NAME) '$(DESTDIR)$(LIBDIR)/libcllm.so.1'
	ln -sf libcllm.so.1 '$(DESTDIR)$(LIBDIR)/libcllm.so'
	$(INSTALL) -m 644 libcllm.a '$(DESTDIR)$(LIBDIR)'
	for folder in $(if $(filter no,$(FLAT)),,'$(DESTDIR)$(INCLUDEDIR)') '$(DESTDIR)$(INCLUDEDIR)/cllm'; do \
	    $(INSTALL) -d "$$folder/ai" && \
	    $(INSTALL) -m 644 include/*.h include/*.hpp "$$folder" && \
	    $(INSTALL) -m 644 include/ai/*.h "$$folder/ai" || exit 1; \
	done
	$(INSTALL) -m 755 $(TOOLS) '$(DESTDIR)$(BINDIR)'
	$(INSTALL) -m 644 $(MAN_PAGES) '$(DESTDIR)$(MANDIR)/man1'
	for tool in $(notdir $(TOOLS)); do \
	    $(INSTALL) -m 644 packaging/completion.bash '$(DESTDIR)$(BASHCOMPDIR)'/$$tool || exit 1; \
	done
	$(INSTALL) -m 644 $(LICENCES) '$(DESTDIR)$(DOCDIR)'
	for file in $(DOCS); do \
	    folder='$(DESTDIR)$(DOCDIR)'/$${file%/*} && $(INSTALL) -d "$$folder" && \
	    $(INSTALL) -m 644 $$file "$$folder" || exit 1; \
	done
	for file in cllm.pc cllm-static.pc; do \
	    $(fill) packaging/$$file.in > '$(DESTDIR)$(PKGCONFIGDIR)'/$$file || exit 1; \
	    chmod 644 '$(DESTDIR)$(PKGCONFIGDIR)'/$$file; \
	done
	for file in cllmConfig.cmake cllmConfigVersion.cmake; do \
	    $(fill) packaging/$$file.in > '$(DESTDIR)$(CMAKEDIR)'/$$file || exit 1; \
	    chmod 644 '$(DESTDIR)$(CMAKEDIR)'/$$file; \
	done

install-debug: install ## install, and the debug data of the shared library, in LIBDIR/.debug
	$(INSTALL) -d '$(DESTDIR)$(LIBDIR)/.debug'
	$(INSTALL) -m 644 build/cllm.debug '$(DESTDIR)$(LIBDIR)/.debug'

install-compat: install ## install, and the linker scripts for old link lines (-lcrystalline -lalgorithms -lprimemath)
	$(INSTALL) -m 644 $(COMPAT_SO) $(COMPAT_A) '$(DESTDIR)$(LIBDIR)'

uninstall: ## removes what install, install-compat and install-debug put there
	cd '$(DESTDIR)$(LIBDIR)' 2> /dev/null && rm -f libcllm.so libcllm.so.1 $(SO_NAME) \
	    libcllm.a $(COMPAT_SO) $(COMPAT_A) .debug/cllm.debug || true
	rm -f $(foreach file,$(HEADERS) $(addprefix cllm/,$(HEADERS)),'$(DESTDIR)$(INCLUDEDIR)/$(file)')
	rm -f $(foreach file,$(notdir $(TOOLS)),'$(DESTDIR)$(BINDIR)/$(file)')
	rm -f $(foreach file,$(notdir $(MAN_PAGES)),'$(DESTDIR)$(MANDIR)/man1/$(file)')
	rm -f $(foreach tool,$(notdir $(TOOLS)),'$(DESTDIR)$(BASHCOMPDIR)/$(tool)')
	rm -f $(foreach file,$(LICENCES) $(DOCS),'$(DESTDIR)$(DOCDIR)/$(file)')
	rm -f '$(DESTDIR)$(PKGCONFIGDIR)/cllm.pc' '$(DESTDIR)$(PKGCONFIGDIR)/cllm-static.pc'
	rm -f '$(DESTDIR)$(CMAKEDIR)/cllmConfig.cmake' '$(DESTDIR)$(CMAKEDIR)/cllmConfigVersion.cmake'
	rmdir '$(DESTDIR)$(INCLUDEDIR)/cllm/ai' '$(DESTDIR)$(INCLUDEDIR)/cllm' '$(DESTDIR)$(INCLUDEDIR)/ai' \
	    '$(DESTDIR)$(LIBDIR)/.debug' '$(DESTDIR)$(CMAKEDIR)' \
	    $(foreach folder,$(DOC_DIRS),'$(DESTDIR)$(DOCDIR)/$(folder)') '$(DESTDIR)$(DOCDIR)' 2> /dev/null || true
