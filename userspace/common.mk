# SPDX-License-Identifier: GPL-2.0-only
# What all of user space is built with. Included from Makefiles one level below
# the top of the tree's userspace/, and from userspace/ itself.

USERSPACE := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
TOP := $(patsubst %/,%,$(dir $(USERSPACE)))
BUILD ?= $(TOP)/build
OUT := $(BUILD)/user

VERSION := 0.1.0
SOVERSION := 0

PREFIX ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
DESTDIR ?=

CC ?= gcc
AR ?= ar
INSTALL ?= install
PKG_CONFIG ?= pkg-config
CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wvla
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE $(WARNINGS) $(CFLAGS) -pthread -MMD -MP \
	-DFERRY_VERSION='"$(VERSION)"' -I$(TOP)/uapi -I$(USERSPACE)/lib $(CPPFLAGS)

# 'make V=1' shows whole commands.
Q := $(if $(V),,@)
say = @$(if $(V),:,printf '  %-7s %s\n' $(1) $(patsubst $(TOP)/%,%,$(2)))
