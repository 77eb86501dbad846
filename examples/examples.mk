# SPDX-License-Identifier: GPL-2.0-only
# One module each, with the module's own headers: see docs/research.md. Kbuild includes this
# where FERRY_EXAMPLES=m was said.
obj-m += ferry_order_plain.o ferry_order_sparse.o ferry_transport_digest.o
ferry_order_plain-y := examples/order_plain.o
ferry_order_sparse-y := examples/order_sparse.o
ferry_transport_digest-y := examples/transport_digest.o

# Where the kernel gives folio_mkclean() to modules: 6.1 and 6.12 do.
obj-$(if $(shell grep -w folio_mkclean $(objtree)/Module.symvers),m) += ferry_dirty_mkclean.o
ferry_dirty_mkclean-y := examples/dirty_mkclean.o
