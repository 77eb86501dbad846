/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the sink's windows (module/rdma/rdma_open.c) take of the kernel beyond
 * kernel.h: lists, and verbs of a device that windows_fuzz.c plays.
 */
#ifndef FERRY_FUZZ_VERBS_H
#define FERRY_FUZZ_VERBS_H

#include <sys/socket.h>

#include "kernel.h"

#define FOLL_LONGTERM		0x100
#define atomic64_add_return(n, a)  ((a)->counter += (s64)(n))

/* One task, and a device that does what it was asked when somebody waits for it. */
void fuzz_device(void);
#undef wait_event_idle
#define wait_event_idle(wq, c) ({ \
	if (!(c)) \
		fuzz_device(); \
	MUST(c); })
#undef wait_event_idle_timeout
#define wait_event_idle_timeout(wq, c, t) ({ \
	bool met_ = (c); \
	if (!met_) { \
		fuzz_device(); \
		met_ = (c); \
	} \
	(void)(t); \
	met_; })

/* --- lists --------------------------------------------------------------- */

struct list_head {
	struct list_head *next, *prev;
};

#define INIT_LIST_HEAD(l)	((l)->next = (l)->prev = (l))
#define list_empty(l)		((l)->next == (l))
#define list_entry(p, type, m)	container_of(p, type, m)
#define list_first_entry_or_null(l, type, m) \
	(list_empty(l) ? NULL : list_entry((l)->next, type, m))
#define list_for_each_entry_safe(p, n, l, m) \
	for ((p) = list_entry((l)->next, __typeof__(*(p)), m), \
	     (n) = list_entry((p)->m.next, __typeof__(*(p)), m); &(p)->m != (l); \
	     (p) = (n), (n) = list_entry((n)->m.next, __typeof__(*(n)), m))

static inline void list_add(struct list_head *p, struct list_head *l)
{
	p->next = l->next;
	p->prev = l;
	l->next->prev = p;
	l->next = p;
}

static inline void list_add_tail(struct list_head *p, struct list_head *l)
{
	list_add(p, l->prev);
}

static inline void list_del(struct list_head *p)
{
	p->next->prev = p->prev;
	p->prev->next = p->next;
	p->next = p->prev = NULL;
}

/* --- verbs --------------------------------------------------------------- */

enum { DMA_FROM_DEVICE = 2 };
enum { IB_MR_TYPE_MEM_REG };
enum { IB_WR_REG_MR = 1, IB_WR_LOCAL_INV, IB_WR_RDMA_WRITE };
enum { IB_SEND_SIGNALED = 2 };
enum { IB_ACCESS_LOCAL_WRITE = 1, IB_ACCESS_REMOTE_WRITE = 2 };
enum { IB_WC_SUCCESS, IB_WC_WR_FLUSH_ERR };

struct scatterlist;
struct ib_cq;
struct ib_device;
struct ib_qp;

struct sg_table {
	struct scatterlist *sgl;
	unsigned int nents, orig_nents;
};

struct ib_wc;

struct ib_cqe {
	void (*done)(struct ib_cq *cq, struct ib_wc *wc);
};

struct ib_wc {
	struct ib_cqe *wr_cqe;
	int status;
};

struct ib_pd {
	struct ib_device *device;
	u32 local_dma_lkey;
};

struct ib_mr {
	u32 rkey;
	u64 iova;
	bool valid;		/* the device writes where it says */
	u32 known_rkey;		/* with which it was registered last */
	struct page **pages;
	u32 nr_pages;
	struct ib_mr *next;
};

struct ib_sge {
	u64 addr;
	u32 length, lkey;
};

struct ib_send_wr {
	struct ib_send_wr *next;
	struct ib_cqe *wr_cqe;
	struct ib_sge *sg_list;
	int num_sge, opcode, send_flags;
	struct { u32 invalidate_rkey; } ex;
};

struct ib_rdma_wr {
	struct ib_send_wr wr;
	u64 remote_addr;
	u32 rkey;
};

struct ib_reg_wr {
	struct ib_send_wr wr;
	struct ib_mr *mr;
	u32 key;
	int access;
};

struct rdma_cm_event;
struct rdma_cm_id {
	struct ib_qp *qp;
};

struct ib_mr *ib_alloc_mr(struct ib_pd *pd, int type, u32 max);
int ib_dereg_mr(struct ib_mr *mr);
int ib_map_mr_sg(struct ib_mr *mr, struct scatterlist *sg, int nents, void *offset,
		 unsigned long page);
int ib_post_send(struct ib_qp *qp, const struct ib_send_wr *wr, void *bad);
int ib_dma_map_sg(struct ib_device *dev, struct scatterlist *sg, unsigned int n, int way);
void ib_dma_unmap_sg(struct ib_device *dev, struct scatterlist *sg, unsigned int n, int way);
int sg_alloc_table_from_pages(struct sg_table *t, struct page **pages, unsigned int n,
			      unsigned int offset, unsigned long size, int flags);
void sg_free_table(struct sg_table *t);

static inline u32 ib_inc_rkey(u32 rkey)
{
	return (rkey & ~0xffu) | ((rkey + 1) & 0xff);
}

static inline void ib_update_fast_reg_key(struct ib_mr *mr, u32 key)
{
	mr->rkey = (mr->rkey & ~0xffu) | (key & 0xff);
}

#endif /* FERRY_FUZZ_VERBS_H */
