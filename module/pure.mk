# SPDX-License-Identifier: GPL-2.0-only
# The objects that need no kernel service: the module and the KUnit suites link
# the same list.
ferry-pure-y := wire.o wire_ram.o plan.o bits.o state.o
