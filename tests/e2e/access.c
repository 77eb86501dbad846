// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=bad_call.c,pair.c,tap.c timeout=60 leak=4096
 *
 * What a user can reach who may open the device and nothing more: his own
 * memory, as he could have read or written it himself. Not another's sessions,
 * not a file that he may only read, not a copy that another process has.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bad_call.h"
#include "pair.h"
#include "tap.h"

#define BYTES	(32 * PAGE)
#define HUGE	(2 * MIB)
#define NOBODY	65534
#define KEY	0x6b6579
#define FILE_NAME "/tmp/access-only-root-writes"

static int dev;
static int lent = -1;	/* closed: the device is root's again */
static pid_t lender;

static int new_session(enum kvm_ferry_role role)
{
	struct kvm_ferry_create c = { .size = sizeof(c), .role = role, .vm_fd = -1,
				      .dirty_source = role == KVM_FERRY_SOURCE ?
						      KVM_FERRY_DIRTY_REPORT : 0 };

	if (ioctl(dev, KVM_FERRY_CREATE, &c))
		tap_bail("no session: %s", strerror(errno));
	return c.out_fd;
}

static struct kvm_ferry_region_add region(void *at, size_t bytes)
{
	return (struct kvm_ferry_region_add){ .size = sizeof(struct kvm_ferry_region_add),
					      .addr = (uintptr_t)at, .length = bytes, .name = "ram" };
}

static void *anon(size_t bytes, int prot, int flags)
{
	void *p = mmap(NULL, bytes, prot, MAP_ANONYMOUS | flags, -1, 0);

	if (p == MAP_FAILED)
		tap_bail("no memory: %s", strerror(errno));
	return p;
}

/* Both ends of a migration over loop, of which we are one. */
static int loop_session(enum kvm_ferry_role role, uint64_t key, void *mem)
{
	struct kvm_ferry_limits m = { .size = sizeof(m), .flags = KVM_FERRY_LIMIT_PEER_TIMEOUT,
				      .peer_timeout_ns = 1000000000ULL * lab_slow() };
	struct kvm_ferry_channel_add a = { .size = sizeof(a), .fd = -1, .key = key,
					   .transport = KVM_FERRY_TRANSPORT_LOOP };
	struct kvm_ferry_region_add r = region(mem, BYTES);
	struct kvm_ferry_start s = { .size = sizeof(s) };
	int fd = new_session(role);

	if (ioctl(fd, KVM_FERRY_LIMITS, &m) || ioctl(fd, KVM_FERRY_REGION_ADD, &r) ||
	    ioctl(fd, KVM_FERRY_CHANNEL_ADD, &a))
		tap_bail("loop: %s", strerror(errno));
	a.kind = KVM_FERRY_CHANNEL_DATA;
	a.key++;
	if (ioctl(fd, KVM_FERRY_CHANNEL_ADD, &a) || ioctl(fd, KVM_FERRY_START, &s))
		tap_bail("loop: %s", strerror(errno));
	return fd;
}

/* The state that a session comes to rest in, if it is not this one. */
static uint32_t comes_to(int fd, uint32_t state)
{
	struct kvm_ferry_event e;

	poll_until((e = (struct kvm_ferry_event){ .size = sizeof(e) },
		    ioctl(fd, KVM_FERRY_EVENT, &e) || e.out_state >= state));
	return e.out_state;
}

static int exit_of(pid_t child)
{
	int status = -1;

	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* A source of root's, which waits for its peer on a key that somebody has guessed. */
static pid_t roots_source(uint64_t key)
{
	pid_t child = fork();
	void *mem;

	if (child)
		return child;
	mem = anon(BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	memset(mem, 'r', BYTES);
	_exit(comes_to(loop_session(KVM_FERRY_SOURCE, key, mem), KVM_FERRY_STATE_LIVE));
}

static void keys(pid_t roots)
{
	uint8_t *from = anon(BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	uint8_t *to = anon(BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	int sink = loop_session(KVM_FERRY_SINK, KEY, to), status;
	uint32_t state;
	pid_t child;

	if (waitpid(roots, &status, WNOHANG))
		tap_bail("root's source did not wait for its peer");
	state = exit_of(roots);
	tap_check(state == KVM_FERRY_STATE_FAILED && comes_to(sink, KVM_FERRY_STATE_LIVE) > KVM_FERRY_STATE_DONE &&
		  !to[0], "another user's loop key joins nothing: root's source is alone (state %u)", state);
	close(sink);
	memset(from, 'x', BYTES);
	child = fork();
	if (!child)
		_exit(comes_to(loop_session(KVM_FERRY_SOURCE, KEY + 8, from), KVM_FERRY_STATE_DONE) != KVM_FERRY_STATE_FAILED);
	sink = loop_session(KVM_FERRY_SINK, KEY + 8, to);
	state = comes_to(sink, KVM_FERRY_STATE_LIVE);
	tap_check(state == KVM_FERRY_STATE_LIVE && poll_until(to[BYTES - 1] == 'x'),
		  "one's own key joins one's own processes: who knows it has the memory");
	close(sink);
	tap_check(!exit_of(child), "and the source hears that its peer has gone");
	munmap(from, BYTES);
	munmap(to, BYTES);
}

static void operators(uint64_t id, const char *who)
{
	struct kvm_ferry_list l = { .size = sizeof(l) };
	struct kvm_ferry_stats s = { .size = sizeof(s), .session_id = id };
	struct kvm_ferry_limits m = { .size = sizeof(m), .session_id = id };
	struct kvm_ferry_abort a = { .size = sizeof(a), .session_id = id };
	struct kvm_ferry_ring_stats r = { .size = sizeof(r), .session_id = id };
	struct kvm_ferry_host_limits h = { .size = sizeof(h) };
	struct kvm_ferry_history y = { .size = sizeof(y) };
	struct kvm_ferry_info i = { .size = sizeof(i) };

	taken(dev, KVM_FERRY_INFO, &i, "%s: INFO", who);
	refused(dev, KVM_FERRY_LIST, &l, EPERM, "CAP_SYS_ADMIN", "%s: LIST", who);
	refused(dev, KVM_FERRY_STATS, &s, EPERM, "CAP_SYS_ADMIN", "%s: STATS of root's session", who);
	refused(dev, KVM_FERRY_LIMITS, &m, EPERM, "CAP_SYS_ADMIN", "%s: LIMITS of root's session", who);
	refused(dev, KVM_FERRY_ABORT, &a, EPERM, "CAP_SYS_ADMIN", "%s: ABORT of root's session", who);
	refused(dev, KVM_FERRY_RING_STATS, &r, EPERM, "CAP_SYS_ADMIN", "%s: RING_STATS of root's session", who);
	taken(dev, KVM_FERRY_HOST_LIMITS, &h, "%s: HOST_LIMITS, to read", who);
	h.flags = KVM_FERRY_HOST_BANDWIDTH;
	refused(dev, KVM_FERRY_HOST_LIMITS, &h, EPERM, "CAP_SYS_ADMIN", "%s: HOST_LIMITS, to set", who);
	refused(dev, KVM_FERRY_HISTORY, &y, EPERM, "CAP_SYS_ADMIN", "%s: HISTORY", who);
}

/* All capabilities of a user namespace of one's own are none for the device. */
static void in_namespace(void)
{
	pid_t child = fork();
	int ret;

	if (!child) {
		struct kvm_ferry_list l = { .size = sizeof(l) };

		if (unshare(CLONE_NEWUSER))
			_exit(2);
		_exit(!ioctl(dev, KVM_FERRY_LIST, &l) || errno != EPERM);
	}
	ret = exit_of(child);
	if (ret == 2)
		tap_note("this kernel lets nobody make user namespaces: not tried");
	else
		tap_check(!ret, "root of a user namespace: LIST: EPERM");
}

/* The creator's address space is gone, its fd is not. */
static int after_exec(int fd)
{
	struct kvm_ferry_start s = { .size = sizeof(s) };
	struct kvm_ferry_reason r = { .size = sizeof(r), .flags = KVM_FERRY_REASON_SESSION };

	if (!ioctl(fd, KVM_FERRY_START, &s) || errno != EPERM)
		return 3;
	if (comes_to(fd, KVM_FERRY_STATE_DONE) != KVM_FERRY_STATE_FAILED)
		return 4;
	return ioctl(fd, KVM_FERRY_REASON, &r) || r.out_error != ESRCH;
}

static void exec_keeps(const char *self)
{
	char number[16];
	int fd, ret;
	pid_t child;

	child = fork();
	if (!child) {
		fd = loop_session(KVM_FERRY_SINK, KEY + 16,
				  anon(BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE));
		fcntl(fd, F_SETFD, 0);
		snprintf(number, sizeof(number), "%d", fd);
		execl(self, self, number, NULL);
		_exit(2);
	}
	ret = exit_of(child);
	tap_check(!ret, "a session that is kept over exec: EPERM, and it ends: ESRCH (%d)", ret);
}

static int read_only_file(void)
{
	int fd = open(FILE_NAME, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || open(FILE_NAME, O_RDWR) >= 0)
		tap_bail("%s must be there, and not writable", FILE_NAME);
	return fd;
}

static bool file_is_whole(int fd)
{
	uint8_t is[BYTES], must[BYTES];

	memset(must, 'f', BYTES);
	return pread(fd, is, BYTES, 0) == (ssize_t)BYTES && !memcmp(is, must, BYTES);
}

static void *mapped(int fd, size_t bytes, int prot, int flags)
{
	void *p = mmap(NULL, bytes, prot, flags, fd, 0);

	if (p == MAP_FAILED)
		tap_bail("a file cannot be mapped: %s", strerror(errno));
	return p;
}

/* Moves random bytes to @to, from @from or from memory of its own. */
static bool move(void *from, void *to, size_t bytes, enum kvm_ferry_transport transport)
{
	struct pair p = { .bytes = bytes, .channels = 1, .transport = transport, .to = to };
	bool good;

	p.from = from ? from : pair_memory(bytes, false);
	fill(p.from, bytes - PAGE, (uintptr_t)to);
	pair_open(&p, -1);
	pair_start(&p);
	pair_wait(p.source, KVM_FERRY_EVENT_PASS);
	good = !pair_switch(&p, "x", 1) && !memcmp(p.from, p.to, bytes);
	pair_close(&p);
	if (!from)
		munmap(p.from, bytes);
	return good;
}

static void refused_at(enum kvm_ferry_role role, void *at, size_t bytes, int error, const char *words,
		       const char *what)
{
	struct kvm_ferry_region_add r = region(at, bytes);
	int fd = new_session(role);

	refused(fd, KVM_FERRY_REGION_ADD, &r, error, words, "%s", what);
	close(fd);
}

static void files(void)
{
	int fd = read_only_file();
	void *private = mapped(fd, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	void *shared = mapped(fd, BYTES, PROT_READ, MAP_SHARED);

	tap_check(move(NULL, private, BYTES, KVM_FERRY_TRANSPORT_TCP) && file_is_whole(fd),
		  "a private mapping of a file that one may only read: the sink has a copy, the file is as it was");
	refused_at(KVM_FERRY_SINK, shared, BYTES, EFAULT, "not readable and writable",
		   "a shared mapping of it, at a sink");
	tap_check(mprotect(shared, BYTES, PROT_READ | PROT_WRITE) < 0 && errno == EACCES,
		  "the kernel does not let it become writable");
	munmap(private, BYTES);
	munmap(shared, BYTES);
	close(fd);
}

/* What was writable when it was added is not any more when the page comes. */
static void replaced(void)
{
	struct pair p = { .bytes = BYTES, .channels = 1, .transport = KVM_FERRY_TRANSPORT_TCP };
	int fd = read_only_file();

	p.from = pair_memory(BYTES, false);
	p.to = pair_memory(BYTES, false);
	fill(p.from, BYTES, 3);
	pair_open(&p, -1);
	pair_start(&p);
	pair_wait(p.source, KVM_FERRY_EVENT_PASS);
	if (mmap(p.to, BYTES, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) != p.to)
		tap_bail("the sink's memory cannot be replaced");
	ferry_session_report_range(p.source, 0, 0, BYTES);
	failed_with(ferry_session_fd(p.sink), EFAULT, "cannot be written", "a file put in the sink's place");
	tap_check(file_is_whole(fd), "the file is as it was");
	pair_close(&p);
	munmap(p.from, BYTES);
	munmap(p.to, BYTES);
	close(fd);
}

static void sealed(void)
{
	int fd = memfd_create("sealed", MFD_ALLOW_SEALING | MFD_CLOEXEC), later;
	uint8_t *early = NULL, *p, *is;
	size_t i;

	later = memfd_create("sealed later", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	if (fd < 0 || later < 0 || ftruncate(fd, BYTES) || ftruncate(later, BYTES))
		tap_bail("no memfd: %s", strerror(errno));
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE))
		tap_bail("no seal: %s", strerror(errno));
	p = mapped(fd, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	is = mapped(fd, BYTES, PROT_READ, MAP_SHARED);
	tap_check(move(NULL, p, BYTES, KVM_FERRY_TRANSPORT_LOOP), "a private mapping of a sealed memfd is moved to");
	for (i = 0; i < BYTES && !is[i]; i++)
		;
	tap_check(i == BYTES, "the memfd is as it was");
	refused_at(KVM_FERRY_SINK, is, BYTES, EFAULT, "not readable and writable", "a shared mapping of a sealed memfd");
	munmap(p, BYTES);
	munmap(is, BYTES);
	early = mapped(later, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED);
	if (fcntl(later, F_ADD_SEALS, F_SEAL_FUTURE_WRITE))
		tap_bail("no seal: %s", strerror(errno));
	is = mapped(later, BYTES, PROT_READ, MAP_SHARED);
	refused_at(KVM_FERRY_SINK, is, BYTES, EFAULT, "not readable and writable", "a mapping made after F_SEAL_FUTURE_WRITE");
	tap_check(move(NULL, early, BYTES, KVM_FERRY_TRANSPORT_TCP) && !memcmp(early, is, BYTES),
		  "one made before is writable, and may be moved to");
	munmap(early, BYTES);
	munmap(is, BYTES);
	close(fd);
	close(later);
}

static void *find_mapping(const char *name)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long at = 0;
	char line[256];

	while (maps && fgets(line, sizeof(line), maps))
		if (strstr(line, name)) {
			at = strtoul(line, NULL, 16);
			break;
		}
	if (maps)
		fclose(maps);
	return (void *)at;
}

static void odd_mappings(void)
{
	void *vdso = (void *)getauxval(AT_SYSINFO_EHDR), *vvar = find_mapping("[vvar]");
	void *exec = anon(BYTES, PROT_EXEC, MAP_PRIVATE), *write = anon(BYTES, PROT_WRITE, MAP_PRIVATE);

	if (!vdso || !vvar)
		tap_bail("no vdso");
	refused_at(KVM_FERRY_SINK, vdso, PAGE, EFAULT, "not readable and writable", "the vdso at a sink");
	refused_at(KVM_FERRY_SOURCE, vvar, PAGE, EOPNOTSUPP, "maps a device", "the kernel's clock page");
	refused_at(KVM_FERRY_SOURCE, exec, BYTES, EFAULT, "not readable", "memory that can only be executed");
	refused_at(KVM_FERRY_SOURCE, write, BYTES, EFAULT, "not readable", "memory that can only be written");
	refused_at(KVM_FERRY_SINK, write, BYTES, EFAULT, "not readable and writable", "the same at a sink, which looks for zeroes");
	munmap(exec, BYTES);
	munmap(write, BYTES);
}

static void kinds(void)
{
	void *from = anon(BYTES, PROT_READ | PROT_WRITE, MAP_SHARED);
	void *to = anon(BYTES, PROT_READ | PROT_WRITE, MAP_SHARED);
	void *hfrom, *hto;

	tap_check(move(from, to, BYTES, KVM_FERRY_TRANSPORT_TCP), "shared anonymous memory is moved");
	munmap(from, BYTES);
	munmap(to, BYTES);
	hfrom = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	hto = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (hfrom == MAP_FAILED || hto == MAP_FAILED) {
		tap_note("no huge pages to be had: not tried");
		return;
	}
	tap_check(move(hfrom, hto, HUGE, KVM_FERRY_TRANSPORT_TCP), "hugetlb memory is moved");
	munmap(hfrom, HUGE);
	munmap(hto, HUGE);
}

/* Nothing is locked for long: the limit of locked memory does not matter. */
static void no_locked_memory(void)
{
	struct rlimit none = {}, old;
	void *to = anon(BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	getrlimit(RLIMIT_MEMLOCK, &old);
	none.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_MEMLOCK, &none);
	tap_check(move(NULL, to, BYTES, KVM_FERRY_TRANSPORT_TCP), "moved with RLIMIT_MEMLOCK 0");
	setrlimit(RLIMIT_MEMLOCK, &old);
	munmap(to, BYTES);
}

/* A child of fork() has the same pages until one of both writes. */
static void copies_of_others(void)
{
	uint8_t *from = anon(BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	uint8_t *to = anon(BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	int go[2], wrote[2], ret;
	char c = 0;
	pid_t child;
	size_t i;

	memset(from, 1, BYTES);
	memset(to, 2, BYTES);
	if (pipe(go) || pipe(wrote))
		tap_bail("no pipe");
	child = fork();
	if (!child) {
		memset(from, 9, BYTES);
		if (write(wrote[1], &c, 1) != 1 || read(go[0], &c, 1) != 1)
			_exit(2);
		for (i = 0; i < BYTES && to[i] == 2; i++)
			;
		_exit(i != BYTES);
	}
	if (read(wrote[0], &c, 1) != 1)
		tap_bail("the child is gone");
	tap_check(move(from, to, BYTES, KVM_FERRY_TRANSPORT_LOOP), "memory that a child shares is moved: the parent's");
	ret = write(go[1], &c, 1) == 1 ? exit_of(child) : 2;
	tap_check(!ret, "the child's copy of the sink's memory is as it was (%d)", ret);
	munmap(from, BYTES);
	munmap(to, BYTES);
	for (i = 0; i < 2; i++) {
		close(go[i]);
		close(wrote[i]);
	}
}

static void set_huge_pages(const char *count)
{
	int fd = open("/proc/sys/vm/nr_hugepages", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, count, 1) != 1)
		tap_note("huge pages cannot be set aside");
	close(fd);
}

/* Stays root, and gives the device its mode back when the test is over, however it ends. */
static void lend_device(void)
{
	int fds[2];
	char c;

	if (pipe2(fds, O_CLOEXEC))
		tap_bail("no pipe");
	lender = fork();
	if (!lender) {
		close(fds[1]);
		/* Until nobody has the other end. */
		if (read(fds[0], &c, 1) < 0)
			_exit(1);
		set_huge_pages("0");
		_exit(chmod(KVM_FERRY_DEVICE, 0600) || unlink(FILE_NAME));
	}
	close(fds[0]);
	lent = fds[1];
	if (chmod(KVM_FERRY_DEVICE, 0666))
		tap_bail("chmod: %s", strerror(errno));
}

static void make_file(void)
{
	int fd = open(FILE_NAME, O_RDWR | O_CREAT | O_TRUNC, 0644);
	uint8_t bytes[BYTES];

	memset(bytes, 'f', BYTES);
	if (fd < 0 || write(fd, bytes, BYTES) != (ssize_t)BYTES)
		tap_bail("%s: %s", FILE_NAME, strerror(errno));
	close(fd);
}

int main(int argc, char **argv)
{
	struct kvm_ferry_stats s = { .size = sizeof(s) };
	struct kvm_ferry_region_add r;
	int mine;
	pid_t roots;

	if (argc > 1)
		return after_exec(atoi(argv[1]));
	dev = open(KVM_FERRY_DEVICE, O_RDWR | O_CLOEXEC);
	if (dev < 0)
		tap_bail("device: %s", strerror(errno));
	make_file();
	set_huge_pages("8");
	roots = roots_source(KEY);
	lend_device();
	mine = new_session(KVM_FERRY_SOURCE);
	if (ioctl(mine, KVM_FERRY_STATS, &s) || setgid(NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
		tap_bail("cannot become nobody: %s", strerror(errno));

	operators(s.out_session_id, "the fd that root opened");
	close(dev);
	dev = open(KVM_FERRY_DEVICE, O_RDWR | O_CLOEXEC);
	tap_check(dev >= 0, "the file's mode says who may open it");
	operators(s.out_session_id, "an fd of one's own");
	r = region(anon(BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE), BYTES);
	taken(mine, KVM_FERRY_REGION_ADD, &r, "a session outlives its creator's privilege: it is the address space's");
	close(mine);
	in_namespace();
	keys(roots);
	exec_keeps(argv[0]);
	files();
	replaced();
	sealed();
	odd_mappings();
	kinds();
	no_locked_memory();
	copies_of_others();
	close(dev);
	close(lent);
	tap_check(!exit_of(lender), "the device is root's again");
	return tap_done();
}
