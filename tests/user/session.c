// SPDX-License-Identifier: GPL-2.0-only
/*
 * Streams that are cut and interrupted, lists that are split, errors in words;
 * against a fake module.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fake.h"
#include "tap.h"

#define BYTES 1000000u

static uint8_t sent[BYTES], stream[BYTES];
static size_t sent_len, stream_len, stream_at;
static unsigned int calls, seed = 7;
static bool sent_last;

static unsigned int dice(unsigned int sides)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 16) % sides;
}

/* Takes a part, or gives a part, and is interrupted with and without progress. */
static int moody_stream(unsigned long cmd, void *arg)
{
	struct kvm_ferry_state_io *io = arg;
	uint64_t n;

	calls++;
	if (cmd == KVM_FERRY_STATE_SEND) {
		n = dice(3) ? io->length : dice((unsigned int)io->length + 1);
		if (sent_last || n > sizeof(sent) - sent_len)
			return -EBUSY;
		if (n)
			memcpy(sent + sent_len, (void *)(uintptr_t)io->data, n);
		sent_len += n;
		io->out_length = n;
		if (n < io->length && (!n || dice(2)))
			return -EINTR;
		if (n == io->length && io->flags & KVM_FERRY_STATE_LAST)
			sent_last = true;
		return 0;
	}
	if (cmd != KVM_FERRY_STATE_RECV)
		return -ENOTTY;
	if (!dice(4))
		return -EINTR;
	n = stream_len - stream_at;
	if (n > io->length)
		n = io->length;
	if (n > 1)
		n = 1 + dice((unsigned int)n);
	memcpy((void *)(uintptr_t)io->data, stream + stream_at, n);
	stream_at += n;
	io->out_length = n;
	if (stream_at == stream_len)
		io->out_flags = KVM_FERRY_STATE_LAST;
	return n && !dice(5) ? -EINTR : 0;
}

struct reader {
	size_t at;
	int error;
};

static ssize_t read_some(void *opaque, void *buf, size_t room)
{
	struct reader *r = opaque;
	size_t n = stream_len - r->at;

	if (r->error && r->at > stream_len / 2)
		return r->error;
	if (n > room)
		n = room;
	if (n > 100)
		n = 100 + dice((unsigned int)n - 100);
	memcpy(buf, stream + r->at, n);
	r->at += n;
	return (ssize_t)n;
}

static void sending(struct ferry_session *s)
{
	struct reader r = { 0 };
	int fds[2];

	fake_module = moody_stream;
	ok(!ferry_session_send_state(s, stream, 12345, false) &&
	   !ferry_session_send_state(s, stream + 12345, stream_len - 12345, true) &&
	   sent_last && sent_len == stream_len && !memcmp(sent, stream, stream_len),
	   "all of the state goes out once and in order, over %u calls", calls);
	sent_len = 0;
	sent_last = false;
	ok(!ferry_session_send_state(s, NULL, 0, true) && sent_last, "an empty last piece");

	sent_len = 0;
	sent_last = false;
	ok(!ferry_session_send_state_from(s, read_some, &r) && sent_last &&
	   sent_len == stream_len && !memcmp(sent, stream, stream_len), "from a callback");
	sent_len = 0;
	sent_last = false;
	r = (struct reader){ .error = -EIO };
	ok(ferry_session_send_state_from(s, read_some, &r) == -EIO && !sent_last &&
	   strstr(ferry_error(), "state"), "a callback's error ends it without a last piece");

	sent_len = 0;
	sent_last = false;
	ok(!pipe(fds) && write(fds[1], stream, 50000) == 50000 && !close(fds[1]) &&
	   !ferry_session_send_state_fd(s, fds[0]) && sent_last && sent_len == 50000 &&
	   !memcmp(sent, stream, 50000), "from a descriptor to its end");
	close(fds[0]);
}

static int refuse(void *opaque, const void *data, size_t length)
{
	(void)opaque;
	(void)data;
	(void)length;
	return -ENOSPC;
}

static void receiving(struct ferry_session *s)
{
	void *data;
	size_t len;
	bool last = false;
	char byte;

	fake_module = moody_stream;
	stream_at = 0;
	ok(!ferry_session_recv_state_all(s, &data, &len) && len == stream_len &&
	   !memcmp(data, stream, len), "all of the state comes in once and in order");
	free(data);
	stream_at = stream_len;
	ok(!ferry_session_recv_state_all(s, &data, &len) && !len, "an empty state");
	free(data);
	stream_at = 0;
	ok(ferry_session_recv_state_to(s, refuse, NULL) == -ENOSPC, "a callback's error ends it");
	stream_at = stream_len - 1;
	ok(ferry_session_recv_state(s, &byte, 1, &last) == 1 && last &&
	   byte == (char)stream[stream_len - 1], "the last byte says that it is the last");
	ok(ferry_session_recv_state(s, &byte, 0, &last) == -EINVAL, "no room is refused");
}

static uint64_t reported, reports;
static uint32_t fail_at;

static int take_report(unsigned long cmd, void *arg)
{
	struct kvm_ferry_report_dirty *report = arg;
	const struct kvm_ferry_range *ranges = (void *)(uintptr_t)report->ranges;
	uint32_t i;

	if (cmd != KVM_FERRY_REPORT_DIRTY || !report->count ||
	    report->count > KVM_FERRY_MAX_RANGES)
		return -EINVAL;
	if (++reports == fail_at)
		return -ESHUTDOWN;
	for (i = 0; i < report->count; i++)
		reported += ranges[i].offset == 4096 * reported;
	return 0;
}

static void reporting(struct ferry_session *s)
{
	static struct kvm_ferry_range ranges[2500];
	unsigned int i;

	for (i = 0; i < 2500; i++)
		ranges[i].offset = 4096 * i;
	fake_module = take_report;
	ok(!ferry_session_report_dirty(s, ranges, 0) && !reports, "no range, no call");
	ok(!ferry_session_report_dirty(s, ranges, 2500) && reported == 2500 && reports == 3,
	   "2500 ranges go in three calls");
	reports = 0;
	fail_at = 2;
	ok(ferry_session_report_dirty(s, ranges, 2500) == -ESHUTDOWN && reports == 2,
	   "an error ends the list");
}

static int fail_with;

static int always_fail(unsigned long cmd, void *arg)
{
	(void)cmd;
	(void)arg;
	return fail_with;
}

static int busy_then_done(unsigned long cmd, void *arg)
{
	(void)cmd;
	(void)arg;
	return ++calls < 4 ? -EINTR : 0;
}

static void errors(struct ferry_session *s)
{
	char buf[KVM_FERRY_REASON_LEN];
	char long_name[KVM_FERRY_NAME_LEN + 1];

	fake_module = always_fail;
	fail_with = -EEXIST;
	fake_reason.out_error = EEXIST;
	strcpy((char *)fake_reason.out_reason, "region 1 overlaps region 0");
	ok(ferry_session_add_region(s, 1, "ram", NULL, 4096) == -EEXIST &&
	   !strcmp(ferry_error(), "region 1 overlaps region 0"), "the module's own words");
	fail_with = -ENOMEM;
	ok(ferry_session_start(s) == -ENOMEM && strstr(ferry_error(), "start the session") &&
	   !strstr(ferry_error(), "overlaps"),
	   "another thread's reason is not taken for ours: %s", ferry_error());
	ok(!strcmp(ferry_session_error(s), ferry_error()),
	   "a session that has not failed has the last error");
	strcpy((char *)fake_session_reason.out_reason, "the peer closed the connection");
	fake_session_reason.out_error = EPIPE;
	ok(!strcmp(ferry_session_error(s), "the peer closed the connection"),
	   "one that has failed says why");
	ok(ferry_session_reason(s, buf, 9) == EPIPE && !strcmp(buf, "the peer"),
	   "a reason is cut to the buffer");
	memset(fake_session_reason.out_reason, 'x', sizeof(fake_session_reason.out_reason));
	ok(ferry_session_reason(s, buf, sizeof(buf)) == EPIPE && strlen(buf) == sizeof(buf) - 1,
	   "a reason without an end gets one");
	memset(long_name, 'n', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = 0;
	ok(ferry_session_add_region(s, 0, long_name, NULL, 4096) == -EINVAL &&
	   strstr(ferry_error(), "longer"), "a region's name is never cut");
	fail_with = -EINTR;
	fake_reason_calls = 0;
	ok(ferry_session_wait_ring(s, 0) == -EINTR && !fake_reason_calls,
	   "a signal costs no second call");
	calls = 0;
	fake_module = busy_then_done;
	ok(!ferry_session_final(s) && calls == 4, "the final pass goes on after signals");
	calls = 0;
	ok(!ferry_session_commit(s) && calls == 4, "so does commit");
	ok(!strcmp(ferry_errno_name(-EREMCHG), "EREMCHG") &&
	   !strcmp(ferry_errno_name(EKEYREJECTED), "EKEYREJECTED") &&
	   !strcmp(ferry_errno_name(4095), "E?"), "names of errnos");
	ok(!strcmp(ferry_state_name(KVM_FERRY_STATE_IN_DOUBT), "in-doubt") &&
	   !strcmp(ferry_state_name(10), "unknown") && ferry_state_ended(KVM_FERRY_STATE_DONE) &&
	   !ferry_state_ended(KVM_FERRY_STATE_COMMITTING) && !ferry_state_ended(10),
	   "names and ends of states");
}

/* Of session 42 there are two rings. */
static int two_rings(unsigned long cmd, void *arg)
{
	struct kvm_ferry_ring_stats *r = arg;

	if (cmd != KVM_FERRY_RING_STATS || r->size != sizeof(*r) || r->flags || r->__reserved ||
	    r->out_waits)
		return -EINVAL;
	if (r->index > 1)
		return -ENOENT;
	r->out_ring_id = 10 + r->index;
	r->out_waits = r->session_id;
	return 0;
}

static void rings(struct ferry_session *s)
{
	struct kvm_ferry_ring_stats r;
	struct ferry_device *dev;
	unsigned int nr;

	fake_module = two_rings;
	memset(&r, 0xff, sizeof(r));
	for (nr = 0; !ferry_session_ring_stats(s, nr, &r, sizeof(r)); nr++)
		ok(r.out_ring_id == 10 + nr && !r.session_id, "ring %u of a session", nr);
	ok(nr == 2 && ferry_session_ring_stats(s, 2, &r, sizeof(r)) == -ENOENT, "and there are no more");
	if (ferry_device_open(&dev)) {
		ok(false, "the device: %s", ferry_error());
		return;
	}
	memset(&r, 0xff, sizeof(r));
	ok(!ferry_device_ring_stats(dev, 42, 1, &r, sizeof(r)) && r.out_ring_id == 11 &&
	   r.out_waits == 42, "an operator names the session");
	ok(ferry_device_ring_stats(dev, 42, 2, &r, sizeof(r)) == -ENOENT, "and there are no more");
	ferry_device_close(dev);
}

static int two_regions(unsigned long cmd, void *arg)
{
	struct kvm_ferry_region_stats *r = arg;

	if (cmd != KVM_FERRY_REGION_STATS || r->size != sizeof(*r) || r->flags || r->out_pages)
		return -EINVAL;
	if (r->index > 1)
		return -ENOENT;
	r->out_region_id = 20 + r->index;
	r->out_pages = 1 + r->session_id;
	return 0;
}

static void regions(struct ferry_session *s)
{
	struct kvm_ferry_region_stats r;
	struct ferry_device *dev;

	fake_module = two_regions;
	memset(&r, 0xff, sizeof(r));
	ok(!ferry_session_region_stats(s, 1, &r, sizeof(r)) && r.out_region_id == 21 && r.out_pages == 1,
	   "a region of a session");
	ok(ferry_session_region_stats(s, 2, &r, sizeof(r)) == -ENOENT, "and there are no more");
	if (ferry_device_open(&dev)) {
		ok(false, "the device: %s", ferry_error());
		return;
	}
	memset(&r, 0xff, sizeof(r));
	ok(!ferry_device_region_stats(dev, 42, 0, &r, sizeof(r)) && r.out_region_id == 20 && r.out_pages == 43,
	   "an operator names the session");
	ferry_device_close(dev);
}

/* Two sessions have ended, the records 5 and 9 tell of them. */
static int two_records(unsigned long cmd, void *arg)
{
	struct kvm_ferry_history *h = arg;

	if (cmd != KVM_FERRY_HISTORY || h->size != sizeof(*h) || h->flags || h->out_number)
		return -EINVAL;
	if (h->after >= 9)
		return -ENOENT;
	h->out_number = h->after < 5 ? 5 : 9;
	return 0;
}

static void history(void)
{
	struct kvm_ferry_history h;
	struct ferry_device *dev;

	fake_module = two_records;
	if (ferry_device_open(&dev)) {
		ok(false, "the device: %s", ferry_error());
		return;
	}
	memset(&h, 0xff, sizeof(h));
	ok(!ferry_device_history(dev, 0, &h, sizeof(h)) && h.out_number == 5, "the oldest record");
	ok(!ferry_device_history(dev, h.out_number, &h, sizeof(h)) && h.out_number == 9 && h.after == 5,
	   "the one behind it");
	ok(ferry_device_history(dev, h.out_number, &h, sizeof(h)) == -ENOENT, "and there is no other");
	ferry_device_close(dev);
}

int main(void)
{
	struct ferry_session *s = fake_session(KVM_FERRY_SOURCE);
	unsigned int i;

	stream_len = BYTES;
	for (i = 0; i < BYTES; i++)
		stream[i] = dice(256);
	ok(ferry_session_id(s) == 42 && ferry_session_role(s) == KVM_FERRY_SOURCE &&
	   ferry_session_fd(s) >= 0, "a session");
	sending(s);
	receiving(s);
	reporting(s);
	errors(s);
	rings(s);
	regions(s);
	history();
	ferry_session_close(s);
	return tap_done();
}
