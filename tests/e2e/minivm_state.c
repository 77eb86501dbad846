// SPDX-License-Identifier: GPL-2.0
/*
 * minivm's own part of a move, without the module: a guest is stopped, its
 * state is saved, loaded into another VM over a copy of its memory, found to be
 * the same there, and the guest goes on. Then states that are cut short or
 * changed in any way, as a hostile peer would send them: refused or loaded, but
 * never read beyond their end.
 *
 * lab: cpus=2 mem=768 timeout=120 module=no leak=8192 dmesg="Unhandled (WR|RD)MSR"
 * lab: sources=tap.c,../../userspace/minivm/vm.c,../../userspace/minivm/boot.c,../../userspace/minivm/mptable.c,../../userspace/minivm/cpuid.c,../../userspace/minivm/vcpu.c,../../userspace/minivm/serial.c,../../userspace/minivm/ports.c,../../userspace/minivm/state.c,../../userspace/minivm/state_vcpu.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "../../userspace/minivm/state.h"
#include "tap.h"

#define VCPUS		2
#define LINES		2
#define MUTATIONS	160
#define SECONDS		30

static const struct mv_options options = {
	.flat = "/guest/flat.bin",
	.append = "64",
	.name = "state",
	.cpus = VCPUS,
	.memory = 16ULL << 20,
	.ring_entries = 4096,
};

struct machine {
	struct vm vm;
	int console;	/* what the guest writes */
	char text[8192];
	size_t len;
};

/* vcpu.c calls it; there is no migration here that could fail. */
void migration_fail(struct vm *vm, const char *why)
{
	(void)vm;
	tap_bail("a vCPU gave up: %s", why);
}

static struct machine *create(void)
{
	struct machine *m = calloc(1, sizeof(*m));
	int fds[2];

	if (!m || pipe2(fds, O_CLOEXEC | O_NONBLOCK))
		tap_bail("no pipe");
	vm_create(&m->vm, &options);
	serial_init(&m->vm, fds[1]);
	m->console = fds[0];
	vcpus_start(&m->vm);
	return m;
}

/* All that the guest has written so far. */
static void drain(struct machine *m)
{
	ssize_t n;

	while ((n = read(m->console, m->text + m->len, sizeof(m->text) - 1 - m->len)) > 0)
		m->len += n;
}

/* The number behind the last @key in what vCPU @cpu has written. */
static unsigned long last(const struct machine *m, unsigned int cpu, const char *key)
{
	char who[16];
	const char *p = m->text, *end;
	unsigned long value = 0;

	snprintf(who, sizeof(who), "cpu=%u ", cpu);
	while ((p = strstr(p, who)) && (end = strchr(p, '\n'))) {
		const char *k = strstr(p, key);

		if (k && k < end)
			value = strtoul(k + strlen(key), NULL, 10);
		p = end;
	}
	return value;
}

/* Until every vCPU has written a line of at least this number. */
static bool all_speak(struct machine *m, unsigned long seq)
{
	uint64_t until = mv_now_ns() + SECONDS * 1000000000ULL;
	struct pollfd pfd = { .fd = m->console, .events = POLLIN };
	unsigned int i;

	for (;;) {
		drain(m);
		for (i = 0; i < VCPUS && last(m, i, "seq=") >= seq; i++)
			;
		if (i == VCPUS)
			return true;
		if (mv_now_ns() > until)
			return false;
		poll(&pfd, 1, 100);
	}
}

/* The records of a stream by type and vCPU; those of clocks are left out. */
static void index_state(const struct state_buf *b, struct state_record *r)
{
	size_t at = sizeof(struct state_head);

	while (at < b->len) {
		struct state_record_head h;

		memcpy(&h, b->data + at, sizeof(h));
		at += sizeof(h);
		r[h.vcpu * STATE_NR_TYPES + h.type] =
			(struct state_record){ .data = b->data + at, .length = h.length };
		at += h.length;
	}
}

static void compare_states(const struct state_buf *a, const struct state_buf *b)
{
	/* Clocks go on; what the timers make of it shows in their chips. */
	static const bool moves[STATE_NR_TYPES] = {
		[STATE_CLOCK] = true, [STATE_TSC] = true, [STATE_PIT] = true,
	};
	static struct state_record ra[VCPUS * STATE_NR_TYPES], rb[VCPUS * STATE_NR_TYPES];
	unsigned int i;

	index_state(a, ra);
	index_state(b, rb);
	for (i = 0; i < VCPUS * STATE_NR_TYPES; i++) {
		unsigned int type = i % STATE_NR_TYPES, vcpu = i / STATE_NR_TYPES;

		if (moves[type] || (!ra[i].data && !rb[i].data))
			continue;
		tap_check(ra[i].data && rb[i].data && ra[i].length == rb[i].length &&
			  !memcmp(ra[i].data, rb[i].data, ra[i].length),
			  "record %u of vCPU %u is the same after the move", type, vcpu);
	}
}

/*
 * The copy ends where an unmapped page begins: whoever reads on is killed.
 * Returns what state_load() returns.
 */
static int load_fenced(struct machine *m, const void *data, size_t len, struct mv_error *e)
{
	size_t room = (len + 4095) & ~4095UL;
	uint8_t *p = mmap(NULL, room + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	int ret;

	if (p == MAP_FAILED || mprotect(p + room, 4096, PROT_NONE))
		tap_bail("no memory for a fenced copy");
	memcpy(p + room - len, data, len);
	ret = state_load(&m->vm, p + room - len, len, mv_now_ns(), e);
	munmap(p, room + 4096);
	return ret;
}

static void bad_states(struct machine *m, const struct state_buf *good)
{
	uint8_t *copy = malloc(good->len);
	unsigned int refused = 0, silent = 0, i, seed = 1;
	struct state_head *head = (struct state_head *)copy;
	struct mv_error e;
	size_t len;

	if (!copy)
		tap_bail("no memory");
	for (len = 0; len < good->len; len += len < 128 ? 1 : 311) {
		memcpy(copy, good->data, good->len);
		if (len >= sizeof(*head))
			head->length = len;
		e.code = 0;
		if (!load_fenced(m, copy, len, &e))
			silent++;
		refused += e.code != 0;
	}
	tap_check(!silent && refused, "a state that is cut short is refused, at %u lengths",
		  refused);

	refused = silent = 0;
	for (i = 0; i < MUTATIONS; i++) {
		unsigned int n = 1 + rand_r(&seed) % 4;
		int ret;

		memcpy(copy, good->data, good->len);
		/* Heads of records are few among the bytes: aim at the front half the time. */
		while (n--)
			copy[rand_r(&seed) % (i % 2 ? good->len : 128)] = rand_r(&seed);
		e.code = 0;
		ret = load_fenced(m, copy, good->len, &e);
		if (ret && (!e.code || !e.text[0]))
			silent++;
		refused += ret != 0;
	}
	tap_check(!silent && refused > MUTATIONS / 4,
		  "of %u changed states %u were refused, each in words", MUTATIONS, refused);

	memcpy(copy, good->data, good->len);
	head->nr_vcpus = 1;
	tap_check(load_fenced(m, copy, good->len, &e) == -EREMCHG,
		  "another number of vCPUs is refused: %s", e.text);
	memcpy(copy, good->data, good->len);
	head->version++;
	tap_check(load_fenced(m, copy, good->len, &e) == -EPROTONOSUPPORT,
		  "another version is refused: %s", e.text);
	free(copy);
}

/* A VM with the memory of @a, which does not run, and this state. */
static struct machine *take_over(const struct machine *a, const struct state_buf *state)
{
	struct machine *m = create();
	struct mv_error e = { 0 };
	unsigned int i;

	for (i = 0; i < a->vm.nr_regions; i++)
		memcpy(m->vm.regions[i].hva, a->vm.regions[i].hva, a->vm.regions[i].size);
	tap_check(!load_fenced(m, state->data, state->len, &e), "the state loads: %s", e.text);
	return m;
}

static void check_goes_on(const struct machine *from, struct machine *to)
{
	unsigned int i;

	tap_check(all_speak(to, 1), "the guest goes on");
	for (i = 0; i < VCPUS; i++) {
		tap_check(last(to, i, "seq=") > last(from, i, "seq="),
			  "vCPU %u counts on: from %lu to %lu", i, last(from, i, "seq="),
			  last(to, i, "seq="));
		tap_check(!last(to, i, "errors="), "vCPU %u finds no error in its memory", i);
	}
	tap_check(!strstr(to->text, "FAIL"), "and complains of nothing");
}

int main(void)
{
	struct machine *a = create(), *b, *c;
	struct state_buf first, second;
	struct mv_error e = { 0 };

	boot_flat(&a->vm);
	vm_resume(&a->vm);
	if (!all_speak(a, LINES))
		tap_bail("the guest does not speak: %s", a->text);
	vm_pause(&a->vm);
	drain(a);
	if (state_save(&a->vm, &first, &e))
		tap_bail("cannot save: %s", e.text);
	state_stamp(&first);
	tap_note("the state has %zu bytes", first.len);

	b = take_over(a, &first);
	if (state_save(&b->vm, &second, &e))
		tap_bail("cannot save again: %s", e.text);
	compare_states(&first, &second);
	vm_resume(&b->vm);
	check_goes_on(a, b);
	vm_pause(&b->vm);

	/* The same after another VM was made of one that was fed with rubbish. */
	c = take_over(a, &first);
	bad_states(c, &first);
	vm_renew(&c->vm);
	tap_check(!load_fenced(c, first.data, first.len, &e),
		  "the right state loads after all that: %s", e.text);
	vm_resume(&c->vm);
	check_goes_on(a, c);

	vcpus_join(&a->vm);
	vcpus_join(&b->vm);
	vcpus_join(&c->vm);
	vm_destroy(&a->vm);
	vm_destroy(&b->vm);
	vm_destroy(&c->vm);
	free(a);
	free(b);
	free(c);
	state_free(&first);
	state_free(&second);
	return tap_done();
}
