/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Parts that modules of one's own bring: a sending order, and a dirty source in the place of
 * "report". docs/research.md has an example of each, and of a transport.
 */
#ifndef FERRY_OWN_H
#define FERRY_OWN_H

struct ferry_dirty_ops;
struct ferry_order_ops;

/*
 * Source sessions that are created from now on use it, and each holds a reference of its
 * module. -EEXIST: another one is registered.
 */
int ferry_order_register(const struct ferry_order_ops *ops);
/* Sessions that are created from now on have the default again. */
void ferry_order_unregister(const struct ferry_order_ops *ops);
/* What is registered, with a reference of its module; NULL: nothing is. */
const struct ferry_order_ops *ferry_order_get(void);

/* The same for a dirty source, and for source sessions that ask for KVM_FERRY_DIRTY_REPORT. */
int ferry_dirty_register(const struct ferry_dirty_ops *ops);
void ferry_dirty_unregister(const struct ferry_dirty_ops *ops);
const struct ferry_dirty_ops *ferry_dirty_get(void);

#endif /* FERRY_OWN_H */
