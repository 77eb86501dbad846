// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=bad_call.c,pair.c,tap.c timeout=60
 *
 * Regions that cannot be right, and regions that stop being right while the
 * session lives: the session ends, the process goes on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bad_call.h"
#include "pair.h"
#include "tap.h"

#define LEN (64 * PAGE)

static struct ferry_device *dev;

static int fresh(bool sink)
{
	struct kvm_ferry_create c = { .size = sizeof(c), .vm_fd = -1,
				      .role = sink ? KVM_FERRY_SINK : KVM_FERRY_SOURCE,
				      .dirty_source = sink ? 0 : KVM_FERRY_DIRTY_REPORT };

	if (ioctl(ferry_device_fd(dev), KVM_FERRY_CREATE, &c))
		tap_bail("no session: %s", strerror(errno));
	return c.out_fd;
}

static struct kvm_ferry_region_add region(uint32_t id, const char *name, const void *addr, uint64_t length)
{
	struct kvm_ferry_region_add a = { .size = sizeof(a), .region_id = id, .addr = (uintptr_t)addr,
					  .length = length };

	snprintf((char *)a.name, sizeof(a.name), "%s", name);
	return a;
}

static void bad_at(int s, const void *addr, uint64_t length, int error, const char *words, const char *what)
{
	struct kvm_ferry_region_add a = region(1, "bad", addr, length);

	refused(s, KVM_FERRY_REGION_ADD, &a, error, words, "%s", what);
}

static void *anon(size_t bytes, int prot)
{
	void *p = mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		tap_bail("no memory: %s", strerror(errno));
	return p;
}

static void places(void)
{
	uint8_t *m = anon(3 * LEN, PROT_READ | PROT_WRITE);
	struct kvm_ferry_region_add good = region(0, "ram", m + LEN, LEN);
	int s = fresh(false);

	bad_at(s, m, 0, EINVAL, "empty", "an empty region");
	bad_at(s, m + 1, LEN, EINVAL, "aligned", "an unaligned address");
	bad_at(s, m, LEN + 512, EINVAL, "aligned", "an unaligned length");
	bad_at(s, (void *)(~0UL - LEN + 1), LEN, EINVAL, "beyond user space", "a region that ends with the address space");
	bad_at(s, (void *)(~0UL - PAGE + 1), LEN, EINVAL, "beyond user space", "a region that wraps");
	bad_at(s, m, ~0UL - PAGE + 1, EINVAL, "beyond user space", "a length that wraps");
	bad_at(s, (void *)0xffff888000000000UL, LEN, EINVAL, "beyond user space", "the kernel's own memory");
	taken(s, KVM_FERRY_REGION_ADD, &good, "a region that is right");
	bad_at(s, m + LEN, LEN, EEXIST, "overlaps region 'ram'", "the same again");
	bad_at(s, m, LEN + PAGE, EEXIST, "overlaps region 'ram'", "one that overlaps its first page");
	bad_at(s, m + 2 * LEN - PAGE, LEN, EEXIST, "overlaps region 'ram'", "one that overlaps its last page");
	bad_at(s, m + LEN + PAGE, PAGE, EEXIST, "overlaps region 'ram'", "one within it");
	bad_at(s, m, 3 * LEN, EEXIST, "overlaps region 'ram'", "one around it");
	good = region(0, "other", m, LEN);
	refused(s, KVM_FERRY_REGION_ADD, &good, EEXIST, "taken by 'ram'", "its id again");
	good = region(5, "ram", m, LEN);
	refused(s, KVM_FERRY_REGION_ADD, &good, EEXIST, "region 'ram' already", "its name again");
	good = region(65536, "far", m, LEN);
	refused(s, KVM_FERRY_REGION_ADD, &good, EINVAL, "above 65535", "a region id that is too high");
	good = region(1, "", m, LEN);
	refused(s, KVM_FERRY_REGION_ADD, &good, EINVAL, "empty", "a region without a name");
	good = region(1, "tab\t", m, LEN);
	refused(s, KVM_FERRY_REGION_ADD, &good, EINVAL, "printable", "a name with a tab");
	good = region(65535, "left", m, LEN);
	taken(s, KVM_FERRY_REGION_ADD, &good, "a neighbour to the left");
	good = region(2, "right", m + 2 * LEN, LEN);
	taken(s, KVM_FERRY_REGION_ADD, &good, "a neighbour to the right");
	close(s);
	munmap(m, 3 * LEN);
}

static void too_many(void)
{
	uint8_t *m = anon((KVM_FERRY_MAX_REGIONS + 1) * PAGE, PROT_READ | PROT_WRITE);
	int s = fresh(false), i, good = 0;
	struct kvm_ferry_region_add a;
	char name[32];

	for (i = 0; i <= KVM_FERRY_MAX_REGIONS; i++) {
		snprintf(name, sizeof(name), "region %d", i);
		a = region(i, name, m + i * PAGE, PAGE);
		if (i < KVM_FERRY_MAX_REGIONS)
			good += !ioctl(s, KVM_FERRY_REGION_ADD, &a);
	}
	tap_check(good == KVM_FERRY_MAX_REGIONS, "%d regions", good);
	refused(s, KVM_FERRY_REGION_ADD, &a, ENOSPC, "at most 256", "one more");
	close(s);
	munmap(m, (KVM_FERRY_MAX_REGIONS + 1) * PAGE);
}

/* Its bitmaps would be larger than the kernel gives: no memory, and no warning in the log. */
static void too_large(void)
{
	uint64_t bytes = 64ULL << 40;
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int source = fresh(false);

	if (p == MAP_FAILED)
		tap_bail("no 64 TiB of address space: %s", strerror(errno));
	bad_at(source, p, bytes, ENOMEM, "no memory for the bitmaps", "64 TiB of nothing");
	munmap(p, bytes);
	close(source);
}

/* Hundredths of a second that a process has spent in the kernel. */
static unsigned int system_ticks(pid_t pid)
{
	unsigned int ticks = 0;
	char name[32];
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%d/stat", pid);
	f = fopen(name, "re");
	if (!f || fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %u", &ticks) != 1)
		tap_bail("%s cannot be read", name);
	fclose(f);
	return ticks;
}

/* What says much about much memory takes long: whoever asks for it can be killed all the same. */
static void too_long(void)
{
	uint64_t bytes = 512ULL << 30, begin;
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct kvm_ferry_region_add r = region(0, "ram", p, bytes);
	struct kvm_ferry_channel_add c = { .size = sizeof(c), .fd = -1, .key = 0x6c6f6e67,
					   .transport = KVM_FERRY_TRANSPORT_LOOP };
	static struct kvm_ferry_range ranges[KVM_FERRY_MAX_RANGES];
	struct kvm_ferry_report_dirty d = { .size = sizeof(d), .ranges = (uintptr_t)ranges,
					    .count = KVM_FERRY_MAX_RANGES };
	struct kvm_ferry_start s = { .size = sizeof(s) };
	int ready[2], status = -1;
	unsigned int i;
	pid_t child;

	if (p == MAP_FAILED || pipe(ready))
		tap_bail("no 512 GiB of address space: %s", strerror(errno));
	for (i = 0; i < KVM_FERRY_MAX_RANGES; i++)
		ranges[i].length = bytes;
	child = fork();
	if (!child) {
		/* Nobody is at the other end: the session is CONNECTING, and may be reported to. */
		int fd = fresh(false), err = ioctl(fd, KVM_FERRY_REGION_ADD, &r);

		err |= ioctl(fd, KVM_FERRY_CHANNEL_ADD, &c);
		c.kind = KVM_FERRY_CHANNEL_DATA;
		c.key++;
		err |= ioctl(fd, KVM_FERRY_CHANNEL_ADD, &c) | ioctl(fd, KVM_FERRY_START, &s);
		if (err || write(ready[1], &err, 1) != 1)
			_exit(2);
		_exit(ioctl(fd, KVM_FERRY_REPORT_DIRTY, &d) ? 3 : 4);
	}
	close(ready[1]);
	if (read(ready[0], &i, 1) != 1)
		tap_bail("a region of 512 GiB cannot be reported: no memory?");
	close(ready[0]);
	i = system_ticks(child);
	if (!poll_until(system_ticks(child) > i + 20))
		tap_bail("the report is over, or waits");
	begin = now_ms();
	kill(child, SIGKILL);
	if (!poll_until(waitpid(child, &status, WNOHANG)))
		tap_note("it is still there");
	tap_check(WIFSIGNALED(status), "a report of %u times 512 GiB is killed within %llu ms (status 0x%x)",
		  KVM_FERRY_MAX_RANGES, (unsigned long long)(now_ms() - begin), status);
	munmap(p, bytes);
}

static void protections(void)
{
	uint8_t *m = anon(LEN, PROT_READ | PROT_WRITE);
	int source = fresh(false), sink = fresh(true);

	munmap(m + LEN / 2, PAGE);
	bad_at(source, m, LEN, EFAULT, "not mapped at", "a hole in the middle");
	bad_at(sink, m, LEN, EFAULT, "not mapped at", "the same at a sink");
	munmap(m, LEN);
	bad_at(source, m, LEN, EFAULT, "not mapped at", "nothing at all");
	m = anon(LEN, PROT_NONE);
	bad_at(source, m, LEN, EFAULT, "not readable", "memory that cannot be read");
	mprotect(m, LEN - PAGE, PROT_READ | PROT_WRITE);
	bad_at(source, m, LEN, EFAULT, "not readable", "a last page that cannot be read");
	mprotect(m, LEN, PROT_READ);
	bad_at(sink, m, LEN, EFAULT, "not readable and writable", "memory that a sink cannot write");
	close(source);
	close(sink);
	munmap(m, LEN);
}

/* Memory that pages cannot be taken from. */
static void odd_memory(void)
{
	int s = fresh(false), sink = fresh(true), fd;
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_api api = { .api = UFFD_API };
	uint8_t *m;

	fd = open("/dev/mem", O_RDWR);
	m = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0xf0000);
	if (fd < 0 || m == MAP_FAILED)
		tap_bail("/dev/mem cannot be mapped: %s", strerror(errno));
	bad_at(s, m, PAGE, EOPNOTSUPP, "maps a device", "PFN-mapped memory (/dev/mem)");
	munmap(m, PAGE);
	close(fd);

	fd = syscall(SYS_memfd_secret, 0);
	if (fd < 0 && errno == ENOSYS) {
		tap_note("this kernel has no memfd_secret() without secretmem.enable: not tried");
	} else {
		if (fd < 0 || ftruncate(fd, LEN))
			tap_bail("memfd_secret: %s", strerror(errno));
		m = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (m == MAP_FAILED)
			tap_bail("secret memory cannot be mapped: %s", strerror(errno));
		bad_at(s, m, LEN, EOPNOTSUPP, "memfd_secret", "secret memory");
		bad_at(sink, m, LEN, EOPNOTSUPP, "memfd_secret", "secret memory at a sink");
		munmap(m, LEN);
		close(fd);
	}

	m = anon(LEN, PROT_READ | PROT_WRITE);
	fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	reg.range.start = (uintptr_t)m + PAGE;
	reg.range.len = PAGE;
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg))
		tap_bail("userfaultfd: %s", strerror(errno));
	bad_at(s, m, LEN, EOPNOTSUPP, "userfaultfd", "a page that userfaultfd watches");
	close(fd);
	munmap(m, LEN);
	close(s);
	close(sink);
}

static void open_pair(struct pair *p)
{
	*p = (struct pair){ .bytes = 8 * MIB, .channels = 1, .transport = KVM_FERRY_TRANSPORT_TCP };
	p->from = pair_memory(p->bytes, false);
	p->to = pair_memory(p->bytes, false);
	fill(p->from, p->bytes, 1);
	pair_open(p, -1);
}

static void close_pair(struct pair *p)
{
	pair_close(p);
	munmap(p->from, p->bytes);
	munmap(p->to, p->bytes);
}

/* What happens to memory at one side while the session lives. */
enum change { UNMAP, PROTECT, ARM };
static const char * const changes[] = { "unmapped", "made inaccessible", "given to userfaultfd" };

static int change(uint8_t *at, enum change how)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING,
				       .range = { .start = (uintptr_t)at, .len = PAGE } };
	struct uffdio_api api = { .api = UFFD_API };
	int fd = -1;

	if (how == UNMAP) {
		munmap(at, PAGE);
	} else if (how == PROTECT) {
		mprotect(at, PAGE, PROT_NONE);
	} else {
		madvise(at, PAGE, MADV_DONTNEED);
		fd = syscall(SYS_userfaultfd, O_CLOEXEC);
		if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg))
			tap_bail("userfaultfd: %s", strerror(errno));
	}
	return fd;
}

static void changed_while_live(bool at_sink, enum change how)
{
	struct pair p;
	int fd;

	open_pair(&p);
	pair_start(&p);
	pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
	fd = change((at_sink ? p.to : p.from) + 3 * MIB, how);
	if (at_sink)
		memset(p.from + 3 * MIB, 9, PAGE);
	ferry_session_report_range(p.source, 0, 3 * MIB, PAGE);
	if (at_sink) {
		failed_with(ferry_session_fd(p.sink), EFAULT, "region 'ram' cannot be written at 0x300000",
			    "a page that is %s at the sink", changes[how]);
		failed_with(ferry_session_fd(p.source), EPIPE, "cannot be written", "its source is told");
	} else {
		failed_with(ferry_session_fd(p.source), EFAULT, "region 'ram' cannot be read at 0x300000",
			    "a page that is %s at the source", changes[how]);
		failed_with(ferry_session_fd(p.sink), EPIPE, "cannot be read", "its sink is told");
	}
	if (fd >= 0)
		close(fd);
	close_pair(&p);
}

int main(void)
{
	enum change how;

	if (ferry_device_open(&dev))
		tap_bail("device: %s", ferry_error());
	places();
	too_many();
	too_large();
	too_long();
	protections();
	odd_memory();
	for (how = UNMAP; how <= ARM; how++) {
		changed_while_live(false, how);
		changed_while_live(true, how);
	}
	ferry_device_close(dev);
	return tap_done();
}
