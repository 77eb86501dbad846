// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=ring_vm.c,pair.c,tap.c timeout=180 leak=4096 kernels=6.1,6.12,debug
 *
 * /sys/kernel/debug/kvm_ferry: a session's files are there as long as it is, for root
 * alone, and say what the ioctls say. One that is held open neither keeps the session
 * nor tells of what is gone; readers and sessions that come and go do each other no
 * harm; while a file is open the module stays.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring_vm.h"
#include "tap.h"

#define ROOT	"/sys/kernel/debug/kvm_ferry"
#define BYTES	(8 * MIB)
#define FILLED	(4 * MIB)	/* of it; the rest is zero, but for what the guest writes */
#define WRITTEN	32UL	/* pages */
#define READERS	2
#define LIVES	60

static const char *const files[] = { "state", "stats", "limits", "rings", "regions", "channels" };
#define NR_FILES (sizeof(files) / sizeof(files[0]))

static char text[65536];

static unsigned long long id_of(struct ferry_session *s)
{
	return ferry_session_id(s);
}

static int open_file(unsigned long long id, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), ROOT "/%llu/%s", id, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Reads all of it into @text; false, and errno, if it cannot. */
static bool read_all(int fd)
{
	size_t len = 0;
	ssize_t n;

	while (len < sizeof(text) - 1 && (n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += n;
	text[len] = 0;
	return n >= 0;
}

static bool read_file(struct ferry_session *s, const char *name)
{
	int fd = open_file(id_of(s), name);
	bool good = fd >= 0 && read_all(fd);

	if (fd >= 0)
		close(fd);
	return good;
}

/* The rest of the line in @text that begins with @name, without the blanks; "" if none does. */
static const char *value(const char *name)
{
	static char found[512];
	const char *line = text;
	size_t len = strlen(name);

	for (; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
		if (!strncmp(line, name, len) && line[len] == ' ') {
			line += len + strspn(line + len, " ");
			snprintf(found, sizeof(found), "%.*s", (int)strcspn(line, "\n"), line);
			return found;
		}
	return "";
}

static unsigned long long number(const char *name)
{
	return strtoull(value(name), NULL, 10);
}

static bool shell(const char *fmt, unsigned long long id)
{
	char command[512];
	int status;

	snprintf(command, sizeof(command), fmt, id, id);
	status = system(command);
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

static void are_there(struct ferry_session *s, const char *what)
{
	char path[128];
	struct stat st;
	unsigned int i, good = 0;

	for (i = 0; i < NR_FILES; i++) {
		snprintf(path, sizeof(path), ROOT "/%llu/%s", id_of(s), files[i]);
		good += !stat(path, &st) && (st.st_mode & 07777) == 0400 && !st.st_uid &&
			read_file(s, files[i]) && *text;
	}
	tap_check(good == NR_FILES, "%s: its %zu files are there, for root alone", what, NR_FILES);
}

/* Names and, once the session has ended, numbers. */
static void agrees(struct ferry_session *s, const char *what)
{
	struct kvm_ferry_stats st = pair_stats(s);
	char why[KVM_FERRY_REASON_LEN] = "";
	bool good;

	good = shell("ferryctl stats %llu | grep -v '^ *[0-9]' | grep -v -e ring_id -e region_id | awk '{print $1}' | sort >/tmp/a && "
		     "awk '{print $1}' " ROOT "/%llu/stats | sort | diff /tmp/a -", id_of(s));
	tap_check(good, "%s: stats has all that ferryctl stats has", what);
	good = shell("ferryctl stats %llu --json | sed -n '/\"limits\"/,/}/s/^ *\"\\([a-z_]*\\)\".*/\\1/p' | "
		     "grep -v '^limits$' | sort >/tmp/a && [ -s /tmp/a ] && "
		     "awk '{print $1}' " ROOT "/%llu/limits | sort | diff /tmp/a -", id_of(s));
	tap_check(good, "%s: limits has all limits", what);
	ferry_session_reason(s, why, sizeof(why));
	good = read_file(s, "state") && !strcmp(value("state"), ferry_state_name(st.out_state)) &&
	       !strcmp(value("role"), ferry_role_name(st.out_role)) && !strcmp(value("name"), "pair") &&
	       number("error") == st.out_error && !strcmp(value("reason"), why) &&
	       number("owner_uid") == geteuid() && number("started_ns") > 1000000000ULL * 1000000000;
	tap_check(good, "%s: state is %s, because '%s'", what, value("state"), why);
	if (!ferry_state_ended(st.out_state))
		return;
	good = shell("ferryctl stats %llu | grep -v '^ *[0-9]' | grep -v -e ring_id -e region_id | sort >/tmp/a && "
		     "sort " ROOT "/%llu/stats | diff /tmp/a -", id_of(s));
	tap_check(good, "%s: and every figure is the same", what);
}

static void limit(struct ferry_session *s, uint64_t bytes)
{
	struct kvm_ferry_limits l = { .flags = KVM_FERRY_LIMIT_BANDWIDTH, .max_bandwidth = bytes };

	if (ferry_session_limits(s, &l, sizeof(l)))
		tap_bail("bandwidth: %s", ferry_error());
}

static void regions_and_channels(struct pair *p)
{
	unsigned long long bytes, pages, published, staged, id, addr, left, sum = 0;
	char name[32], transport[16], kind[16];
	unsigned int index, pass, i;
	const char *line;
	bool good;

	/* Nothing more is sent for now but a batch or two a channel. */
	limit(p->source, 65536);
	if (ferry_session_report_range(p->source, 0, 0, p->bytes))
		tap_bail("report: %s", ferry_error());
	good = read_file(p->source, "regions") &&
	       sscanf(strchr(text, '\n'), "%llu %llu %llx %llu %llu %llu %31s", &id, &bytes, &addr,
		      &pages, &published, &staged, name) == 7 &&
	       !id && bytes == p->bytes && pages == p->bytes / PAGE && !strcmp(name, "ram") &&
	       addr == (uintptr_t)p->from && published <= pages && published >= pages / 4 && staged <= WRITTEN;
	left = pair_stats(p->source).out_ram_remaining;
	/* What the guest writes is staged meanwhile. */
	tap_check(good && (published + WRITTEN) * PAGE >= left, "a region of %llu pages, %llu published, %llu staged; %llu bytes are left",
		  pages, published, staged, left);
	good = read_file(p->sink, "regions") &&
	       sscanf(strchr(text, '\n'), "%llu %llu %llx %llu %llu %llu %31s", &id, &bytes, &addr,
		      &pages, &published, &staged, name) == 7 &&
	       addr == (uintptr_t)p->to && !published && !staged;
	tap_check(good, "at the sink none is dirty");
	limit(p->source, 0);
	pair_wait(p->source, KVM_FERRY_EVENT_CONVERGED);
	good = read_file(p->source, "channels");
	line = good ? strchr(text, '\n') + 1 : "";
	for (i = 0; good && *line && i < 8; i++, line = strchr(line, '\n') + 1) {
		good = sscanf(line, "%15s %u %15s %llu %llu %u", kind, &index, transport, &bytes, &left,
			      &pass) == 6 && !strcmp(transport, "tcp") &&
		       !strcmp(kind, i ? "data" : "control") && index == (i ? i - 1 : 0) &&
		       (!i || (pass && bytes));
		sum += i ? bytes : 0;
	}
	tap_check(good && i == 1 + p->channels && sum >= FILLED,
		  "%u channels by TCP, whose peer has taken %llu bytes of pages", i, sum);
}

static void rings(struct pair *p, unsigned int cpus)
{
	struct kvm_ferry_ring_stats r;
	unsigned long long dirty;
	unsigned int id, entries, i, good = 0;
	const char *line;

	line = read_file(p->source, "rings") ? strchr(text, '\n') + 1 : "";
	for (i = 0; *line; i++, line = strchr(line, '\n') + 1)
		good += sscanf(line, "%u %u %llu", &id, &entries, &dirty) == 3 &&
			!ferry_session_ring_stats(p->source, i, &r, sizeof(r)) && r.out_ring_id == id &&
			r.out_ring_entries == entries && dirty && dirty <= r.out_dirty_pages;
	tap_check(i == cpus && good == cpus, "%u rings, and what their vCPUs dirtied", i);
	tap_check(read_file(p->sink, "rings") && !*(strchr(text, '\n') + 1), "a sink has none");
}

/* With a VM and its rings, while its guest runs. */
static void moves(void)
{
	struct pair p = { .bytes = BYTES, .channels = 2 };
	struct vm vm;
	unsigned int i;

	vm_open(&vm, BYTES, BYTES, 4096);
	p.from = vm.mem;
	p.to = pair_memory(BYTES, false);
	fill(p.from + BYTES - FILLED, FILLED, 1);
	for (i = 0; i < 2; i++)
		cpu_program(vm_add_cpu(&vm), MIB + i * MIB, WRITTEN / 2, 0);
	pair_open(&p, vm.fd);
	are_there(p.source, "source, not started");
	are_there(p.sink, "sink, not started");
	vm_hand_over(&vm, p.source, BYTES);
	pair_start(&p);
	vm_start_all(&vm);
	for (i = 0; i < 3; i++)
		pair_wait(p.source, KVM_FERRY_EVENT_PASS);
	are_there(p.source, "source, live");
	agrees(p.source, "source, live");
	agrees(p.sink, "sink, live");
	rings(&p, 2);
	regions_and_channels(&p);
	vm_stop_all(&vm);
	tap_check(!pair_switch(&p, "state", 5), "it moves");
	agrees(p.source, "source, done");
	agrees(p.sink, "sink, done");
	vm_take_back(&vm, "done");
	pair_close(&p);
	tap_check(shell("[ \"$(ls " ROOT ")\" = history ]", 0), "then only the history is left");
	tap_check(shell("grep -q 'role=source uid=0 .* state=done error=0 name=\"pair\" reason=\"\"$' " ROOT "/history", 0),
		  "in which it is");
	munmap(p.to, BYTES);
	vm_close(&vm);
}

static struct pair small_pair(enum kvm_ferry_transport transport)
{
	struct pair p = { .bytes = 2 * MIB, .channels = 1, .transport = transport };

	p.from = pair_memory(p.bytes, false);
	p.to = pair_memory(p.bytes, false);
	fill(p.from, p.bytes, 3);
	return p;
}

static void free_pair(struct pair *p)
{
	munmap(p->from, p->bytes);
	munmap(p->to, p->bytes);
}

static int unload(void)
{
	return syscall(SYS_delete_module, "kvm_ferry", O_NONBLOCK) ? errno : 0;
}

static bool unloaded(void)
{
	int tries, err = EAGAIN;

	/* What a session leaves to others is let go of a little after its close. */
	for (tries = 0; err && tries < 200; tries++) {
		err = unload();
		if (err)
			usleep(20000);
	}
	return !err;
}

static void held_open(void)
{
	struct pair p = small_pair(KVM_FERRY_TRANSPORT_TCP);
	int fds[2 * NR_FILES], half[NR_FILES], history, err;
	unsigned int i, good = 0;
	char c;

	pair_open(&p, -1);
	pair_start(&p);
	pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
	for (i = 0; i < NR_FILES; i++) {
		fds[2 * i] = open_file(id_of(p.source), files[i]);
		fds[2 * i + 1] = open_file(id_of(p.sink), files[i]);
		/* The rest of it is in its buffer. */
		half[i] = open_file(id_of(p.source), files[i]);
		good += fds[2 * i] >= 0 && fds[2 * i + 1] >= 0 && half[i] >= 0 && read(half[i], &c, 1) == 1;
	}
	history = open(ROOT "/history", O_RDONLY | O_CLOEXEC);
	tap_check(good == NR_FILES && history >= 0, "files are opened and half read");
	pair_close(&p);
	for (i = good = 0; i < 2 * NR_FILES; i++)
		good += read(fds[i], &c, 1) < 0 && errno == EIO;
	for (i = 0; i < NR_FILES; i++)
		good += read(half[i], &c, 1) < 0 && errno == EIO && lseek(half[i], 0, SEEK_SET) < 0;
	tap_check(good == 3 * NR_FILES, "when the sessions are closed, they give EIO");
	tap_check(read_all(history) && strstr(text, "the VMM at the source closed the session"),
		  "and the history says what became of them");
	err = unload();
	tap_check(err == EAGAIN, "the module stays while files are open: %s", strerror(err));
	for (i = 0; i < 2 * NR_FILES; i++)
		close(fds[i]);
	for (i = 0; i < NR_FILES; i++)
		close(half[i]);
	err = unload();
	tap_check(err == EAGAIN, "or the history is: %s", strerror(err));
	close(history);
	tap_check(unloaded() && access(ROOT, F_OK), "then it goes, and its folder");
	tap_check(shell("insmod /lab/kvm_ferry.ko && [ -z \"$(cat " ROOT "/history)\" ]", 0),
		  "loaded anew, it has no history");
	free_pair(&p);
}

static bool stop;

/* All files of whatever sessions there are, again and again. */
static void *reads(void *arg)
{
	unsigned long *count = arg;
	struct dirent *e;
	unsigned int i;
	char buf[4096];
	ssize_t n;
	DIR *d;
	int fd;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		d = opendir(ROOT);
		while (d && (e = readdir(d))) {
			for (i = 0; i < NR_FILES && e->d_name[0] != '.'; i++) {
				fd = open_file(strtoull(e->d_name, NULL, 10), files[i]);
				if (fd < 0)
					continue;
				while ((n = read(fd, buf, sizeof(buf))) > 0)
					;
				if (!n)
					count[0]++;
				else if (errno == EIO)
					count[1]++;
				else
					count[2]++;
				close(fd);
			}
		}
		if (d)
			closedir(d);
	}
	return NULL;
}

static void while_closing(void)
{
	unsigned long counts[READERS][3] = {}, whole = 0, cut = 0, odd = 0;
	pthread_t threads[READERS];
	struct pair p;
	unsigned int i;

	for (i = 0; i < READERS; i++)
		pthread_create(&threads[i], NULL, reads, counts[i]);
	for (i = 0; i < LIVES; i++) {
		p = small_pair(i % 2 ? KVM_FERRY_TRANSPORT_TCP : KVM_FERRY_TRANSPORT_LOOP);
		pair_open(&p, -1);
		if (i % 3)
			pair_start(&p);
		if (i % 3 == 2)
			pair_wait(p.source, KVM_FERRY_EVENT_PASS);
		pair_close(&p);
		free_pair(&p);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < READERS; i++) {
		pthread_join(threads[i], NULL);
		whole += counts[i][0];
		cut += counts[i][1];
		odd += counts[i][2];
	}
	tap_check(whole > LIVES && !odd, "%u readers beside %u pairs that come and go: %lu files, %lu more that went meanwhile",
		  READERS, LIVES, whole, cut);
	tap_check(shell("[ \"$(ls " ROOT ")\" = history ]", 0), "none of their files is left");
}

int main(void)
{
	struct vm keep;

	/* A host under emulation does not like its first and last VM to come and go. */
	vm_open(&keep, 4 * MIB, 4 * MIB, 4096);
	moves();
	while_closing();
	vm_close(&keep);
	held_open();
	return tap_done();
}
