// SPDX-License-Identifier: GPL-2.0
/* The same move through a source and a sink session of kvm_ferry. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "ferry.h"

#define LIMIT_MS	60000

static void must(int err, const char *what, struct ferry_session *s)
{
	if (err)
		die("%s: %s", what, s ? ferry_session_error(s) : ferry_error());
}

static void add_socket(struct ferry_session *s, unsigned int index, int fd)
{
	must(ferry_session_add_socket(s, index ? KVM_FERRY_CHANNEL_DATA : KVM_FERRY_CHANNEL_CONTROL,
				      fd), "channel", s);
	close(fd);
}

static void wait_for(struct ferry_session *s, uint32_t events, uint32_t state)
{
	struct kvm_ferry_event e;

	for (;;) {
		if (ferry_session_wait_event(s, &e, sizeof(e), LIMIT_MS) != 1)
			die("nothing happens: %s", ferry_session_error(s));
		if ((e.out_events & events) || (!events && e.out_state == state))
			return;
		if (ferry_state_ended(e.out_state))
			die("the session ended: %s", ferry_session_error(s));
	}
}

/* The sink's end of the control connection is where its RDMA listens; its port comes by @master. */
static void connect_rdma(struct ferry_session *s, int control, unsigned int channels, int master)
{
	struct sockaddr_in peer;
	socklen_t len = sizeof(peer);

	if (getpeername(control, (struct sockaddr *)&peer, &len))
		die("no address: %s", strerror(errno));
	recv_all(master, &peer.sin_port, sizeof(peer.sin_port));
	while (channels--)
		must(ferry_session_connect_rdma(s, (struct sockaddr *)&peer, sizeof(peer), NULL, 0, -1),
		     "channel", s);
}

static void listen_rdma(struct ferry_session *s, int control, unsigned int channels, int master)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);

	if (getsockname(control, (struct sockaddr *)&addr, &len))
		die("no address: %s", strerror(errno));
	addr.sin_port = 0;
	while (channels--)
		must(ferry_session_listen_rdma(s, (struct sockaddr *)&addr, sizeof(addr), -1), "channel", s);
	send_all(master, &addr.sin_port, sizeof(addr.sin_port));
}

static struct ferry_session *open_source(const struct source *src, const struct mode *m, int master)
{
	struct ferry_device *dev;
	struct ferry_session *s;
	unsigned int i;
	int control;

	must(ferry_device_open(&dev), "device", NULL);
	must(src->vm ? ferry_source_create(dev, src->vm->fd, "bench", &s) :
		       ferry_source_create_reporting(dev, "bench", &s), "session", NULL);
	ferry_device_close(dev);
	must(ferry_session_add_region(s, 0, "ram", src->mem, src->bytes), "region", s);
	if (src->vm)
		must(ferry_session_add_slot(s, FERRY_SLOT(0, 0), 0, 0, src->bytes), "slot", s);
	control = tcp_connect(src->host, src->port);
	if (m->rdma)
		connect_rdma(s, control, m->channels, master);
	add_socket(s, 0, control);
	for (i = 1; i <= m->channels && !m->rdma; i++)
		add_socket(s, i, tcp_connect(src->host, src->port));
	return s;
}

void ours_send(const struct source *src, const struct mode *m, int master, struct figures *f)
{
	struct ferry_session *s = open_source(src, m, master);
	struct kvm_ferry_stats st;
	uint64_t cpu;
	char ready;

	recv_all(master, &ready, 1);
	cpu = busy_ns();
	f->begin = now_ns();
	if (src->vm)
		must(ferry_session_add_ring(s, 0, src->vm->gfns, RING_BYTES, src->vm->fetch),
		     "ring", s);
	must(ferry_session_start(s), "start", s);
	wait_for(s, KVM_FERRY_EVENT_CONVERGED, 0);
	must(ferry_session_final(s), "final", s);
	f->end = now_ns();
	f->cpu = busy_ns() - cpu;
	must(ferry_session_send_state(s, "x", 1, true), "state", s);
	must(ferry_session_commit(s), "commit", s);
	must(ferry_session_stats(s, &st, sizeof(st)), "stats", s);
	f->sent = st.out_ram_normal;
	f->entries = st.out_ring_entries;
	f->harvest_ns = st.out_harvest_ns;
	f->reset_ns = st.out_reset_ns;
	if (src->vm)
		must(ferry_session_ring_index(s, 0, &src->vm->fetch), "ring", s);
	ferry_session_close(s);
}

void ours_receive(int listener, const struct order *o, void *mem, int master)
{
	struct ferry_device *dev;
	struct ferry_session *s;
	unsigned int i;
	char state[16];
	bool last = false;
	int control;

	must(ferry_device_open(&dev), "device", NULL);
	must(ferry_sink_create(dev, "bench", &s), "session", NULL);
	ferry_device_close(dev);
	must(ferry_session_add_region(s, 0, "ram", mem, o->bytes), "region", s);
	/* They arrive in the order in which they were made: control first. */
	control = tcp_accept(listener);
	if (o->rdma)
		listen_rdma(s, control, o->channels, master);
	add_socket(s, 0, control);
	for (i = 1; i <= o->channels && !o->rdma; i++)
		add_socket(s, i, tcp_accept(listener));
	must(ferry_session_start(s), "start", s);
	send_all(master, "", 1);
	wait_for(s, 0, KVM_FERRY_STATE_PAUSED);
	while (!last)
		if (ferry_session_recv_state(s, state, sizeof(state), &last) < 0)
			die("state: %s", ferry_session_error(s));
	must(ferry_session_commit(s), "commit", s);
	ferry_session_close(s);
}
