// SPDX-License-Identifier: GPL-2.0-only
/*
 * WANT and DROP of a hostile peer against the sink's windows (rdma_open.c), with a
 * device that is played here. Four bytes say what goes wrong (see begin()), then
 * come SENDs: length (le16) and so many bytes; an empty one lets the device work.
 *
 *  - only pages of a region are pinned, and no more than the bounds allow,
 *  - the account of pinned pages (the channel's, and the VMM's) is right at any time,
 *  - no page is let go of while the device could still write to it,
 *  - a memory region that is used again has another key,
 *  - nothing is opened when memory may not change any more,
 *  - at the end nothing is pinned, mapped, registered or allocated.
 */
#include "kernel/verbs.h"
#include "rdma/rdma.h"
#include "pages.h"
#include "sink.h"

#define MAX_LIVE	4096
#define NR_REGIONS	2

struct scatterlist {
	struct page **pages;
	u32 nr;
	bool mapped;
};

static const u64 region_pages[NR_REGIONS] = { 700, 3 };
static struct page guest[700 + 3];
static struct ferry_region regions[NR_REGIONS];
static struct ferry_session session;
static struct mm_struct mm;
static struct rdma_channel rc;
static struct rdma_cm_id id;
static struct ib_pd pd;
static struct task_struct task;
static struct ib_mr *mrs;
static struct ib_send_wr closing_copy[FUZZ_XA_ENTRIES];
static struct ib_cqe *registering;
static u32 nr_closing, live, nomem, nopin, may_place, opened, pinned, next_key;
static int mm_held, closing_status;

struct ib_cqe rdma_write_cqe;

void fuzz_broken(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
	abort();
}

struct task_struct *fuzz_current(void)
{
	return &task;
}

/* --- memory --------------------------------------------------------------- */

static void *alloc(size_t n, int fill)
{
	MUST(n <= 65536 && live < MAX_LIVE);
	if (nomem && !--nomem)
		return NULL;
	live++;
	return memset(malloc(n ? n : 1), fill, n);
}

void *fuzz_alloc(size_t n)
{
	return alloc(n, 0);
}

void *fuzz_alloc_dirty(size_t n)
{
	return alloc(n, 0xa5);
}

void fuzz_free(const void *p)
{
	live -= !!p;
	free((void *)p);
}

void mutex_lock(struct mutex *lock)
{
	MUST(!lock->owner);
	lock->owner = &task;
}

void mutex_unlock(struct mutex *lock)
{
	MUST(lock->owner == &task);
	lock->owner = NULL;
}

void *fuzz_xa_from(struct xarray *x, unsigned long *index)
{
	int i, best = -1;

	for (i = 0; i < FUZZ_XA_ENTRIES; i++)
		if (x->entry[i] && x->index[i] >= *index && (best < 0 || x->index[i] < x->index[best]))
			best = i;
	if (best >= 0)
		*index = x->index[best];
	return best < 0 ? NULL : x->entry[best];
}

void *xa_load(struct xarray *x, unsigned long index)
{
	unsigned long at = index;
	void *entry = fuzz_xa_from(x, &at);

	return at == index ? entry : NULL;
}

/* A full table is no memory. */
void *xa_store(struct xarray *x, unsigned long index, void *entry, int flags)
{
	int i;

	(void)flags;
	for (i = 0; i < FUZZ_XA_ENTRIES && x->entry[i]; i++)
		;
	if (i == FUZZ_XA_ENTRIES || (nomem && !--nomem))
		return ERR_PTR(-ENOMEM);
	x->index[i] = index;
	x->entry[i] = entry;
	return NULL;
}

void xa_erase(struct xarray *x, unsigned long index)
{
	int i;

	for (i = 0; i < FUZZ_XA_ENTRIES; i++)
		if (x->entry[i] && x->index[i] == index)
			x->entry[i] = NULL;
}

/* --- the session ---------------------------------------------------------- */

int ferry_session_end(struct ferry_session *s, enum ferry_step step, int error,
		      const char *fmt, ...)
{
	(void)s, (void)step, (void)fmt;
	MUST(error < 0);
	return 0;
}

bool ferry_sink_may_place(struct ferry_session *s)
{
	(void)s;
	return opened < may_place;
}

bool ferry_mm_get(struct ferry_session *s)
{
	(void)s;
	mm_held++;
	return true;
}

void ferry_mm_put(struct ferry_session *s)
{
	(void)s;
	MUST(mm_held-- > 0);
}

int ferry_pages_pin(struct ferry_session *s, const struct ferry_region *r, u64 pfn,
		    unsigned int count, unsigned int flags, struct page **to)
{
	unsigned int i;

	MUST(s == &session && mm_held && flags == FOLL_LONGTERM);
	MUST(r == &regions[r->index] && count && pfn < r->nr_pages && count <= r->nr_pages - pfn);
	if (nopin && !--nopin)
		return -EFAULT;
	for (i = 0; i < count; i++) {
		to[i] = &guest[(r->index ? region_pages[0] : 0) + pfn + i];
		to[i]->pins++;
	}
	pinned += count;
	MUST(pinned <= rc.sink.pinned_pages && pinned <= rc.sink.memlock_pages);
	return 0;
}

static bool device_writes(struct page *const *pages)
{
	const struct ib_mr *mr;

	for (mr = mrs; mr; mr = mr->next)
		if (mr->valid && mr->pages == pages)
			return true;
	return false;
}

void unpin_user_pages_dirty_lock(struct page **pages, unsigned long n, bool dirty)
{
	unsigned long i;

	MUST(dirty && !device_writes(pages));
	for (i = 0; i < n; i++)
		MUST(pages[i]->pins-- > 0);
	pinned -= n;
}

/* --- the device ----------------------------------------------------------- */

struct ib_mr *ib_alloc_mr(struct ib_pd *p, int type, u32 max)
{
	struct ib_mr *mr = fuzz_alloc(sizeof(*mr));

	MUST(p == &pd && type == IB_MR_TYPE_MEM_REG && max == rc.sink.window_pages);
	if (!mr)
		return ERR_PTR(-ENOMEM);
	mr->rkey = ++next_key << 8;
	mr->known_rkey = ~0u;
	mr->next = mrs;
	mrs = mr;
	return mr;
}

int ib_dereg_mr(struct ib_mr *mr)
{
	struct ib_mr **p;

	for (p = &mrs; *p != mr; p = &(*p)->next)
		MUST(*p);
	*p = mr->next;
	fuzz_free(mr);
	return 0;
}

int sg_alloc_table_from_pages(struct sg_table *t, struct page **pages, unsigned int n,
			      unsigned int offset, unsigned long size, int flags)
{
	(void)flags;
	MUST(!offset && size == n * PAGE_SIZE);
	t->sgl = fuzz_alloc(sizeof(*t->sgl));
	if (!t->sgl)
		return -ENOMEM;
	*t->sgl = (struct scatterlist){ .pages = pages, .nr = n };
	t->nents = t->orig_nents = 1;
	return 0;
}

void sg_free_table(struct sg_table *t)
{
	MUST(!t->sgl || !t->sgl->mapped);
	fuzz_free(t->sgl);
	*t = (struct sg_table){};
}

int ib_dma_map_sg(struct ib_device *dev, struct scatterlist *sg, unsigned int n, int way)
{
	(void)dev;
	MUST(n == 1 && way == DMA_FROM_DEVICE && !sg->mapped);
	sg->mapped = !(nomem && !--nomem);
	return sg->mapped;
}

void ib_dma_unmap_sg(struct ib_device *dev, struct scatterlist *sg, unsigned int n, int way)
{
	(void)dev;
	MUST(n == 1 && way == DMA_FROM_DEVICE && sg->mapped && !device_writes(sg->pages));
	sg->mapped = false;
}

int ib_map_mr_sg(struct ib_mr *mr, struct scatterlist *sg, int nents, void *offset,
		 unsigned long page)
{
	MUST(!offset && page == PAGE_SIZE && nents == 1 && sg->mapped && !mr->valid);
	MUST(sg->nr <= rc.sink.window_pages);
	mr->pages = sg->pages;
	mr->nr_pages = sg->nr;
	mr->iova = (u64)mr->rkey << 12;
	return nents;
}

int ib_post_send(struct ib_qp *qp, const struct ib_send_wr *wr, void *bad)
{
	const struct ib_reg_wr *reg = container_of(wr, struct ib_reg_wr, wr);

	MUST(qp == id.qp && !bad && !wr->next && rc.lock.owner && (int)rc.sq_free > 0);
	if (nomem && !--nomem)
		return -ENOMEM;
	if (wr->opcode == IB_WR_REG_MR) {
		MUST(!reg->mr->valid && reg->key == reg->mr->rkey && reg->key != reg->mr->known_rkey);
		MUST(reg->access == (IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_WRITE));
		reg->mr->valid = true;
		reg->mr->known_rkey = reg->key;
		MUST(!registering && !!(wr->send_flags & IB_SEND_SIGNALED) == rc.sink.serial);
		MUST(!rc.sink.serial || rc.sq_free == RDMA_SEND_ROOM);
		registering = rc.sink.serial ? wr->wr_cqe : NULL;
		return 0;
	}
	MUST(wr->opcode == IB_WR_LOCAL_INV && (wr->send_flags & IB_SEND_SIGNALED));
	MUST(nr_closing < FUZZ_XA_ENTRIES);
	closing_copy[nr_closing++] = *wr;
	return 0;
}

struct rdma_send *rdma_send_alloc(struct rdma_channel *c, u32 kind, u32 length)
{
	struct rdma_send *t = fuzz_alloc(sizeof(*t));

	MUST(c == &rc && kind == FERRY_RDMA_GRANT && length == 16);
	if (!t)
		return NULL;
	t->data = fuzz_alloc(FERRY_RDMA_HEADER_LEN + length);
	if (t->data)
		return t;
	fuzz_free(t);
	return NULL;
}

void rdma_send_free(struct rdma_send *t)
{
	fuzz_free(t->data);
	fuzz_free(t);
}

/* A GRANT leaves behind its registration, and tells of it. */
void rdma_pump_locked(struct rdma_channel *c)
{
	struct ferry_rdma_grant g;
	struct rdma_send *t, *next;
	struct ib_mr *mr;

	lockdep_assert_held(&c->lock);
	list_for_each_entry_safe(t, next, &c->notes, node) {
		MUST((int)c->sq_free > 0);
		MUST(!ferry_rdma_get_grant(t->data + FERRY_RDMA_HEADER_LEN, 16, &g, NULL));
		for (mr = mrs; mr && !(mr->rkey == g.rkey && mr->iova == g.addr); mr = mr->next)
			;
		MUST(mr && mr->valid && t->wrs == !rc.sink.serial && !registering);
		c->sq_free--;
		list_del(&t->node);
		list_add_tail(&t->node, &c->posted);
	}
}

void rdma_broke(struct rdma_channel *c, int error)
{
	if (!c->error)
		c->error = error;
}

/* Whatever was posted is done, in order. */
void fuzz_device(void)
{
	struct rdma_send *t, *next;
	struct ib_mr *mr;
	u32 i;

	if (registering) {
		struct ib_wc wc = { .wr_cqe = registering, .status = closing_status };

		registering = NULL;
		wc.wr_cqe->done(NULL, &wc);
	}
	list_for_each_entry_safe(t, next, &rc.posted, node) {
		list_del(&t->node);
		rc.sq_free += t->wrs + 1;
		rdma_send_free(t);
	}
	for (i = 0; i < nr_closing; i++) {
		struct ib_wc wc = { .wr_cqe = closing_copy[i].wr_cqe, .status = closing_status };

		for (mr = mrs; mr && mr->rkey != closing_copy[i].ex.invalidate_rkey; mr = mr->next)
			;
		MUST(mr && mr->valid);
		/* A request that is flushed was not carried out. */
		mr->valid = closing_status != IB_WC_SUCCESS;
		wc.wr_cqe->done(NULL, &wc);
	}
	nr_closing = 0;
}

/* --- a run ---------------------------------------------------------------- */

static void begin(const u8 *how)
{
	u32 i;

	for (i = 0; i < NR_REGIONS; i++) {
		regions[i] = (struct ferry_region){ .index = i, .nr_pages = region_pages[i] };
		session.regions[i] = &regions[i];
	}
	session.nr_regions = NR_REGIONS;
	session.mm = &mm;
	id.qp = (struct ib_qp *)&id;
	memset(&rc, 0, sizeof(rc));
	memset(&mm, 0, sizeof(mm));
	rc.ch.session = &session;
	rc.id = &id;
	rc.pd = &pd;
	rc.sink.serial = how[0] & 8;
	rc.sq_free = rc.sink.serial ? RDMA_SEND_ROOM : RDMA_WINDOW_WRS + how[0] % 8;
	INIT_LIST_HEAD(&rc.notes);
	INIT_LIST_HEAD(&rc.posted);
	INIT_LIST_HEAD(&rc.sink.spare);
	rc.sink.window_pages = 1 + how[0] * 2;
	rc.sink.pinned_pages = FERRY_RDMA_MIN_PINNED;
	rc.sink.memlock_pages = how[3] & 1 ? 600 : 1U << 30;
	closing_status = how[3] & 2 ? IB_WC_WR_FLUSH_ERR : IB_WC_SUCCESS;
	nomem = how[1];
	nopin = how[2];
	may_place = how[3] >> 2 ? how[3] >> 2 : ~0u;
	nr_closing = opened = 0;
	registering = NULL;
}

static void check(void)
{
	u64 pages = 0, sum = 0, i;

	for (i = 0; i < ARRAY_SIZE(guest); i++)
		sum += guest[i].pins;
	pages = rc.sink.pages;
	MUST(sum == pinned && pinned == pages && mm.pinned_vm.counter == (s64)pages);
	MUST(pages <= rc.sink.pinned_pages && pages <= rc.sink.memlock_pages);
	MUST(!mm_held && rc.sink.closing == nr_closing && (int)rc.sq_free >= 0);
}

static int hear(const u8 *data, size_t len)
{
	const u8 *body = data + FERRY_RDMA_HEADER_LEN;
	struct ferry_rdma_header h;
	const char *why = NULL;
	int ret;

	if (ferry_rdma_get_header(data, len, true, &h, &why))
		return -EPROTO;
	mutex_lock(&rc.lock);
	ret = h.kind == FERRY_RDMA_WANT ? rdma_hear_want_locked(&rc, body, h.length, &why) :
	      h.kind == FERRY_RDMA_DROP ? rdma_hear_drop_locked(&rc, body, h.length, &why) : -EPROTO;
	MUST(ret <= 0 && (ret != -EPROTO || why || h.kind == FERRY_RDMA_STREAM ||
			  h.kind == FERRY_RDMA_CREDIT));
	mutex_unlock(&rc.lock);
	opened += !ret && h.kind == FERRY_RDMA_WANT;
	MUST(opened <= may_place);
	check();
	return ret ?: rc.error;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t len;
	u8 *copy;
	int ret = 0;

	if (size < 4)
		return 0;
	begin(data);
	for (data += 4, size -= 4; !ret && size >= 2; data += len, size -= len) {
		len = data[0] | data[1] << 8;
		data += 2;
		size -= 2;
		if (len > size || len > FERRY_RDMA_MSG_LEN)
			break;
		if (!len) {
			fuzz_device();
			check();
			continue;
		}
		copy = malloc(len);
		memcpy(copy, data, len);
		ret = hear(copy, len);
		free(copy);
	}
	/* As rdma_teardown() does it: the queue pair is drained, then all is freed. */
	rdma_broke(&rc, ret ?: -ESHUTDOWN);
	fuzz_device();
	mutex_lock(&rc.lock);
	rdma_sink_free(&rc);
	mutex_unlock(&rc.lock);
	check();
	MUST(!pinned && !mrs && !live && !rc.sink.closing);
	return 0;
}
