# SPDX-License-Identifier: GPL-2.0
# Thin wrappers; "make help" lists them. The kernel's build uses Kbuild, not this.

# dkms.conf has the release, because DKMS reads it as text.
VERSION := $(shell sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' dkms.conf)
KVERSION ?= $(shell uname -r)
KDIR ?= /lib/modules/$(KVERSION)/build
PREFIX ?= /usr/local
DESTDIR ?=
DKMS ?= dkms
DKMS_SOURCE = $(DESTDIR)/usr/src/kvm-ferry-$(VERSION)
# Options for a DKMS that must not touch the system (--dkmstree, --installtree ...).
DKMS_FLAGS ?=

TOP := $(CURDIR)
LAB := tests/lab/lab
MODULE_BUILD = $(TOP)/build/$(KVERSION)

all: modules userspace

# A recipe's line: $(call need_headers,DIRECTORY,what else helps)
need_headers = @test -f $(1)/Makefile || { \
	echo "No kernel headers at $(1): install linux-headers-$(KVERSION), $(2)" >&2; exit 1; }

# Built in a copy: the 6.1 kernel's build writes beside the sources.
modules:
	$(call need_headers,$(KDIR),or say KDIR=...)
	@mkdir -p $(MODULE_BUILD)
	@cp -Rpu Kbuild module uapi examples $(MODULE_BUILD)/
	$(MAKE) -C $(KDIR) M=$(MODULE_BUILD) modules

userspace:
	@pkg-config --exists json-c 2>/dev/null || { \
		echo "libjson-c is missing: install libjson-c-dev and pkg-config" >&2; exit 1; }
	$(MAKE) -C userspace PREFIX=$(PREFIX)

install: install-module install-userspace

# The signature and the compression are the kernel's own choice.
install-module: modules
	$(MAKE) -C $(KDIR) M=$(MODULE_BUILD) INSTALL_MOD_PATH=$(DESTDIR) INSTALL_MOD_DIR=updates \
		modules_install
	$(if $(DESTDIR),,depmod $(KVERSION))

install-userspace: userspace
	$(MAKE) -C userspace install PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)
	$(if $(DESTDIR),,ldconfig)
	$(if $(DESTDIR),,! command -v systemd-sysusers >/dev/null || \
		systemd-sysusers $(PREFIX)/lib/sysusers.d/kvm-ferry.conf)

# What packages ship: DKMS has it registered when they are installed.
dkms-source:
	rm -rf $(DKMS_SOURCE)
	install -d $(DKMS_SOURCE)
	cp -R COPYING Kbuild dkms.conf module uapi $(DKMS_SOURCE)/

# For the kernel KVERSION, and by itself for every kernel that is installed later.
dkms-install:
	@command -v $(DKMS) >/dev/null || { echo "DKMS is missing: install dkms" >&2; exit 1; }
	$(call need_headers,/lib/modules/$(KVERSION)/build,or say KVERSION= for a kernel that has them)
	@$(MAKE) --no-print-directory dkms-source
	$(DKMS) status $(DKMS_FLAGS) -m kvm-ferry -v $(VERSION) | grep -q . || \
		$(DKMS) add $(DKMS_FLAGS) -m kvm-ferry -v $(VERSION)
	$(DKMS) build $(DKMS_FLAGS) --force -m kvm-ferry -v $(VERSION) -k $(KVERSION)
	$(DKMS) install $(DKMS_FLAGS) --force -m kvm-ferry -v $(VERSION) -k $(KVERSION)

dkms-remove:
	$(DKMS) remove $(DKMS_FLAGS) -m kvm-ferry -v $(VERSION) --all
	rm -rf $(DKMS_SOURCE)

# In a copy: what dpkg-buildpackage makes lies in and beside the folder it is called in.
DEB := build/deb/kvm-ferry-$(VERSION)
deb:
	@command -v dpkg-buildpackage >/dev/null && command -v dh_dkms >/dev/null || { \
		echo "Debian's tools are missing: install build-essential debhelper dh-dkms" >&2; exit 1; }
	rm -rf build/deb
	mkdir -p $(DEB)
	tar -c --anchored --exclude=./.git --exclude=./build . | tar -x -C $(DEB)
	cd $(DEB) && env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL dpkg-buildpackage -us -uc $(DEB_FLAGS)

setup: /usr/bin/python3
	$(LAB) setup

check: setup
	$(LAB) check

kunit:
	tests/kunit/run

model: /usr/bin/python3
	tests/model/run

test: /usr/bin/python3
	$(LAB) test

test-debug: /usr/bin/python3
	$(LAB) test-debug

# Without what takes long there: what CI runs.
test-debug-short: /usr/bin/python3
	$(LAB) test-debug --short

test-newest: /usr/bin/python3
	$(LAB) test-newest

fuzz:
	tests/fuzz/run $(or $(SECONDS),60)

# Another seed each time, and ten times as much as "make test" has; the seed is printed.
fuzz-ioctl: /usr/bin/python3
	$(LAB) run -v --kernel $(or $(KERNEL),6.12) --timeout 1200 \
		--args "$(or $(SEED),$(shell date +%s)) $(or $(TIMES),10)" fuzz_ioctl

# A directory of userspace/qemu.
QEMU ?= 7.2
qemu: /usr/bin/python3
	$(LAB) qemu --qemu $(QEMU)

# There and back once, between two hosts.
test-qemu-short: /usr/bin/python3
	$(LAB) test-qemu --short --qemu $(QEMU)

test-qemu: /usr/bin/python3
	$(LAB) test-qemu --qemu $(QEMU)

test-packages: /usr/bin/python3
	$(LAB) packages

demo: /usr/bin/python3
	$(LAB) demo

# On two real machines: HOSTS=root@a,root@b, and ADDRESSES=, SCALE=.
BENCH_HOSTS = $(if $(HOSTS),--hosts $(HOSTS)) $(if $(ADDRESSES),--addresses $(ADDRESSES)) \
	$(if $(SCALE),--scale $(SCALE))
bench: /usr/bin/python3
	$(LAB) bench $(BENCH_HOSTS)

bench-qemu: /usr/bin/python3
	$(LAB) bench-qemu $(BENCH_HOSTS)

# MIGRATIONS=, SEED=, SOAK_KERNEL=6.12; the debug kernel if it was built.
SOAK_KERNEL ?= $(if $(wildcard build/debug-kernel.json),debug,6.12)
soak: /usr/bin/python3
	$(LAB) soak --kernel $(SOAK_KERNEL) --seed $(or $(SEED),1) \
		$(if $(MIGRATIONS),--migrations $(MIGRATIONS)) \
		$(if $(MINUTES)$(MIGRATIONS),$(if $(MINUTES),--minutes $(MINUTES)),--minutes 10)

clean:
	rm -rf build

help:
	@echo "make               the module for KVERSION=$(KVERSION), and user space, in build/"
	@echo "make modules       only the module (KDIR=headers)"
	@echo "make userspace     only libferry, ferryctl, minivm"
	@echo "make install       both, into PREFIX=$(PREFIX) and the kernel's updates/ (DESTDIR=root)"
	@echo "make dkms-install  register, build and install the module with DKMS; dkms-remove undoes it"
	@echo "make deb           Debian packages, in build/deb/;  make test-packages: tries them in a root"
	@echo "make demo          move a running guest between two emulated hosts, with all its set-up"
	@echo "make test          everything that is tested, with all its set-up"
	@echo "make test-debug    the tests in emulated hosts on a 6.12 with KASAN, lockdep, kmemleak ..."
	@echo "make test-debug-short   as CI runs them: without what takes long there"
	@echo "make test-newest   the same on the newest kernel of the distribution's unstable suite"
	@echo "make qemu          the distribution's QEMU with our patches, in the cache (QEMU=7.2 or 10.0)"
	@echo "make test-qemu     guests of that QEMU move, in emulated hosts (test-qemu-short: once)"
	@echo "make bench-qemu    the same guest migrated by QEMU's own ways and by ours"
	@echo "make check         only the lints;  make kunit: only the unit tests"
	@echo "make fuzz          hostile bytes and hostile peers, SECONDS=60 long (clang's libFuzzer)"
	@echo "make fuzz-ioctl    hostile callers in an emulated host: SEED= (another each time) TIMES=10 KERNEL=6.12"
	@echo "make model         only the models of the data's way and of COMMIT, checked with spin"
	@echo "make bench         figures beside other ways to do it, in build/bench/results.json"
	@echo "                   both on real machines: HOSTS=root@a,root@b SCALE=1 (bench, bench-qemu)"
	@echo "make soak          guests move to and fro with faults by chance, MINUTES=10 long; SEED=1"
	@echo "make clean         remove build/; what is fetched stays in ~/.cache/kvm-ferry"
	@echo "tests/lab/lab -h   one test, one host, by hand"

# Needed before the lab, which is written in it, can install the rest.
/usr/bin/python3:
	$(if $(filter 0,$(shell id -u)),,sudo) apt-get install -q -y --no-install-recommends python3

.PHONY: all modules userspace install install-module install-userspace dkms-source dkms-install \
	dkms-remove deb test-packages setup check kunit model test test-debug test-debug-short test-newest qemu test-qemu test-qemu-short \
	bench-qemu fuzz fuzz-ioctl demo bench soak clean help
