# SPDX-License-Identifier: GPL-2.0-only
# The objects that need no kernel service: the modules and the KUnit suites link
# the same lists.
ferry-pure-y := wire.o wire_ram.o plan.o throttle.o share.o bits.o state.o order.o
ferry-rdma-pure-y := rdma/rdma_wire.o
