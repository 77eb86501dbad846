// SPDX-License-Identifier: GPL-2.0
/*
 * ferrybench sink PORT
 * ferrybench source HOST PORT vm|report MIB[/TOUCHED] fresh|warm ROUNDS MODE...
 * ferrybench harvest ROUNDS
 *
 * Of MIB of memory all or TOUCHED are filled; the rest was never allocated. Moves
 * the same memory by one mode after the other, ROUNDS times; after each
 * move both ends compare what they have. MODE is "ours:CHANNELS", "rdma:CHANNELS" or
 * "peer:PAGES:copy|zc:THREADS". A line a move, on standard output:
 *   bench {"what": "move", "mode": ...}
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define CHUNK	(2 * MIB)
/*
 * The source's pages do not lie where the sink's lie in their huge pages: they
 * would share a place in the emulator's TLB, as source and target of each copy,
 * and drive each other out at every word. No real processor is like that. The
 * sink's are not shifted: a huge page there would belong to blocks of two
 * channels, which both allocate and clear it at the same time.
 */
#define SHIFT	(37 * PAGE)

/* Never looks at what is not allocated: that would allocate it. */
static uint64_t each_chunk(uint8_t *mem, uint64_t bytes, uint64_t touched, bool write)
{
	uint64_t chunks = touched / CHUNK, sum = 0, i;

	for (i = 0; i < chunks; i++) {
		uint8_t *chunk = mem + i * (bytes / chunks / CHUNK * CHUNK);

		if (write)
			fill(chunk, CHUNK, i + 1);
		else
			sum = checksum(chunk, CHUNK, sum);
	}
	return sum;
}

static int sink_main(int port)
{
	int listener = tcp_listen(port), master = tcp_accept(listener);
	uint8_t *mem = NULL;
	size_t bytes = 0;

	for (;;) {
		struct order o;
		uint64_t sum;

		recv_all(master, &o, sizeof(o));
		if (o.way == WAY_QUIT)
			return 0;
		if (o.channels > MAX_THREADS)
			die("a bad order");
		if (bytes != o.bytes) {
			if (mem)
				munmap(mem, bytes);
			mem = memory(o.bytes);
			bytes = o.bytes;
		}
		if (o.fresh)
			madvise(mem, bytes, MADV_DONTNEED);
		else	/* not zero, so that the kernel must allocate it */
			memset(mem, 1, bytes);
		if (o.way == WAY_OURS)
			ours_receive(listener, &o, mem, master);
		else
			peer_receive(listener, &o, mem, master);
		sum = each_chunk(mem, bytes, o.touched, false);
		send_all(master, &sum, sizeof(sum));
	}
}

static void parse_mode(struct mode *m, const char *text)
{
	char how[8] = "";

	snprintf(m->name, sizeof(m->name), "%s", text);
	if (sscanf(text, "ours:%u", &m->channels) == 1) {
		m->way = WAY_OURS;
	} else if (sscanf(text, "rdma:%u", &m->channels) == 1) {
		m->way = WAY_OURS;
		m->rdma = true;
	} else if (sscanf(text, "peer:%u:%7[^:]:%u", &m->iovecs, how, &m->channels) == 3) {
		m->way = WAY_PEER;
		m->zerocopy = !strcmp(how, "zc");
	} else {
		die("unknown mode \"%s\"", text);
	}
	if (!m->channels || m->channels > MAX_THREADS || m->iovecs > 256 ||
	    (m->way == WAY_PEER && !m->iovecs))
		die("mode \"%s\" is out of bounds", text);
}

static void tell(const struct source *src, const struct mode *m, bool fresh,
		 const struct figures *f)
{
	printf("bench {\"what\": \"move\", \"mode\": \"%s\", \"vm\": %d, \"fresh\": %d, \"bytes\": %zu, \"ns\": %llu, \"cpu_ns\": %llu, \"sent\": %llu, \"entries\": %llu, \"harvest_ns\": %llu, \"reset_ns\": %llu}\n",
	       m->name, src->vm != NULL, fresh, src->bytes,
	       (unsigned long long)(f->end - f->begin), (unsigned long long)f->cpu,
	       (unsigned long long)f->sent, (unsigned long long)f->entries,
	       (unsigned long long)f->harvest_ns, (unsigned long long)f->reset_ns);
	fflush(stdout);
}

static void move(struct source *src, uint64_t touched, const struct mode *m, bool fresh,
		 int master)
{
	struct order o = { .way = m->way, .channels = m->channels, .fresh = fresh, .rdma = m->rdma,
			   .bytes = src->bytes, .touched = touched };
	struct figures f = { 0 };
	uint64_t sum;

	if (src->vm)
		vm_dirty(src->vm, FIRST_PAGE, src->bytes / PAGE - FIRST_PAGE, 1);
	send_all(master, &o, sizeof(o));
	if (m->way == WAY_OURS)
		ours_send(src, m, master, &f);
	else
		peer_send(src, m, master, &f);
	recv_all(master, &sum, sizeof(sum));
	if (sum != each_chunk(src->mem, src->bytes, touched, false))
		die("%s: what arrived is not what was sent", m->name);
	tell(src, m, fresh, &f);
}

static int source_main(int argc, char **argv)
{
	struct source src = { .host = argv[2], .port = atoi(argv[3]) };
	int rounds = atoi(argv[7]), nr = argc - 8, master, i;
	bool fresh = !strcmp(argv[6], "fresh");
	struct order quit = { .way = WAY_QUIT };
	struct mode *modes = calloc(nr, sizeof(*modes));
	uint64_t touched;
	struct vm vm;
	char *end;

	for (i = 0; i < nr; i++)
		parse_mode(&modes[i], argv[8 + i]);
	src.bytes = touched = strtoul(argv[5], &end, 10) * MIB;
	if (*end == '/')
		touched = atol(end + 1) * MIB;
	if (!touched || touched % CHUNK || touched > src.bytes)
		die("\"%s\" must be MIB or MIB/TOUCHED, in steps of 2 MiB", argv[5]);
	if (!strcmp(argv[4], "vm") && src.bytes / PAGE > RING_ROOM)
		die("that much memory does not fit into a ring");
	src.mem = (uint8_t *)memory(src.bytes + CHUNK) + SHIFT;
	each_chunk(src.mem, src.bytes, touched, true);
	if (!strcmp(argv[4], "vm")) {
		vm_create(&vm, src.mem, src.bytes);
		src.vm = &vm;
	}
	master = tcp_connect(src.host, src.port);
	while (rounds-- > 0)
		for (i = 0; i < nr; i++)
			move(&src, touched, &modes[i], fresh, master);
	send_all(master, &quit, sizeof(quit));
	return 0;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && !strcmp(argv[1], "sink"))
		return sink_main(atoi(argv[2]));
	if (argc > 8 && !strcmp(argv[1], "source"))
		return source_main(argc, argv);
	if (argc == 3 && !strcmp(argv[1], "harvest"))
		return harvest_main(argc, argv);
	fprintf(stderr, "usage: ferrybench sink PORT\n"
			"       ferrybench source HOST PORT vm|report MIB[/TOUCHED] fresh|warm ROUNDS MODE...\n"
			"       ferrybench harvest ROUNDS\n");
	return 2;
}
