// SPDX-License-Identifier: GPL-2.0-only
/*
 * minivm: options, and the main loop.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>
#include "minivm.h"

/* How often to look whether a part of a line waits for its end too long. */
#define FLUSH_MS	50

enum {
	OPT_KERNEL = 1, OPT_INITRD, OPT_APPEND, OPT_FLAT, OPT_CPUS, OPT_MEMORY, OPT_RING,
	OPT_CONTROL, OPT_INCOMING, OPT_CONSOLE, OPT_NAME, OPT_EXIT, OPT_HELP,
};

static const struct option long_options[] = {
	{ "kernel", required_argument, NULL, OPT_KERNEL },
	{ "initrd", required_argument, NULL, OPT_INITRD },
	{ "append", required_argument, NULL, OPT_APPEND },
	{ "flat", required_argument, NULL, OPT_FLAT },
	{ "cpus", required_argument, NULL, OPT_CPUS },
	{ "memory", required_argument, NULL, OPT_MEMORY },
	{ "ring-entries", required_argument, NULL, OPT_RING },
	{ "control", required_argument, NULL, OPT_CONTROL },
	{ "incoming", no_argument, NULL, OPT_INCOMING },
	{ "console", required_argument, NULL, OPT_CONSOLE },
	{ "name", required_argument, NULL, OPT_NAME },
	{ "exit-when-gone", no_argument, NULL, OPT_EXIT },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static const char usage_text[] =
"Usage: minivm --kernel FILE [--initrd FILE] [--append TEXT] [OPTIONS]\n"
"       minivm --flat FILE [OPTIONS]\n"
"       minivm --incoming --control PATH [OPTIONS]\n"
"Runs a guest under KVM, and moves it with kvm_ferry.\n"
"\n"
"  --kernel FILE         a Linux bzImage, or the ELF kernel in it\n"
"  --initrd FILE         its initial RAM disk\n"
"  --append TEXT         its command line (default: console=ttyS0)\n"
"  --flat FILE           instead: a flat image, entered in 64-bit mode at 1 MiB\n"
"  --incoming            instead: wait for a guest from another host\n"
"  --cpus N              vCPUs, 1 to 64 (default: 1)\n"
"  --memory SIZE[,type=anon|memfd|hugetlb]\n"
"                        guest memory, with K, M or G (default: 256M,type=anon)\n"
"  --ring-entries N      entries of a dirty ring, a power of two (default: 4096)\n"
"  --control PATH        listen for commands at this socket\n"
"  --console FILE|-      serial port: append to FILE, or standard input and output\n"
"                        (default: -)\n"
"  --name NAME           the VM's name, for people (default: minivm)\n"
"  --exit-when-gone      exit once the guest runs elsewhere and no client is connected\n"
"  --help                show this text\n";

static uint64_t parse_number(const char *what, const char *text, uint64_t min, uint64_t max)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || n < min || n > max)
		errx(2, "%s must be a number from %llu to %llu", what, (unsigned long long)min,
		     (unsigned long long)max);
	return n;
}

static void parse_memory(struct mv_options *o, char *text)
{
	static const char *const types[] = { "anon", "memfd", "hugetlb" };
	char *type = strchr(text, ','), *end;
	unsigned int i;
	uint64_t unit;

	if (type) {
		*type++ = '\0';
		for (i = 0; i < 3; i++)
			if (!strncmp(type, "type=", 5) && !strcmp(type + 5, types[i]))
				break;
		if (i == 3)
			errx(2, "--memory: after the size comes type=anon, type=memfd or type=hugetlb");
		o->memory_type = i;
	}
	errno = 0;
	o->memory = strtoull(text, &end, 10);
	unit = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
	if (errno || end == text || *text == '-' || !unit || end[1] || o->memory >> 40)
		errx(2, "--memory must be a size such as 256M or 2G");
	o->memory <<= unit;
	if (o->memory < 2ULL << 20 || o->memory % (2 << 20) || o->memory > 1ULL << 40)
		errx(2, "--memory must be a multiple of 2 MiB, from 2M to 1024G");
}

static void parse_options(struct mv_options *o, int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case OPT_KERNEL:
			o->kernel = optarg;
			break;
		case OPT_INITRD:
			o->initrd = optarg;
			break;
		case OPT_APPEND:
			o->append = optarg;
			break;
		case OPT_FLAT:
			o->flat = optarg;
			break;
		case OPT_CPUS:
			o->cpus = parse_number("--cpus", optarg, 1, MINIVM_MAX_CPUS);
			break;
		case OPT_MEMORY:
			parse_memory(o, optarg);
			break;
		case OPT_RING:
			o->ring_entries = parse_number("--ring-entries", optarg, 256, 65536);
			break;
		case OPT_CONTROL:
			o->control = optarg;
			break;
		case OPT_INCOMING:
			o->incoming = true;
			break;
		case OPT_CONSOLE:
			o->console = optarg;
			break;
		case OPT_NAME:
			o->name = optarg;
			break;
		case OPT_EXIT:
			o->exit_when_gone = true;
			break;
		case OPT_HELP:
			fputs(usage_text, stdout);
			exit(0);
		default:
			errx(2, "try --help");
		}
	}
	if (optind < argc)
		errx(2, "\"%s\" is no option: try --help", argv[optind]);
	if (!!o->kernel + !!o->flat + o->incoming != 1)
		errx(2, "give one of --kernel, --flat and --incoming");
	if (o->incoming && !o->control)
		errx(2, "--incoming needs --control, to be told where the guest comes from");
	if (o->ring_entries & (o->ring_entries - 1))
		errx(2, "--ring-entries must be a power of two");
	if (strlen(o->name) > 31)
		errx(2, "--name may have at most 31 characters");
}

static struct termios saved_terminal;

static void restore_terminal(void)
{
	tcsetattr(STDIN_FILENO, TCSANOW, &saved_terminal);
}

/* Keys go to the guest at once; Ctrl-C and the like stay with us. */
static void open_terminal(void)
{
	struct termios t;

	if (tcgetattr(STDIN_FILENO, &saved_terminal))
		return;
	t = saved_terminal;
	t.c_lflag &= ~(ICANON | ECHO);
	t.c_iflag &= ~ICRNL;
	tcsetattr(STDIN_FILENO, TCSANOW, &t);
	atexit(restore_terminal);
}

static int open_console(const struct mv_options *o)
{
	int fd;

	if (!strcmp(o->console, "-")) {
		open_terminal();
		return STDOUT_FILENO;
	}
	fd = open(o->console, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0666);
	if (fd < 0)
		err(1, "cannot open %s", o->console);
	return fd;
}

static int open_signals(void)
{
	sigset_t set;
	int fd;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		err(1, "signalfd");
	return fd;
}

/* Returns false at the end of input. */
static bool read_console(struct vm *vm)
{
	char buf[64];
	size_t room = serial_room(vm);
	ssize_t n = read(STDIN_FILENO, buf, room < sizeof(buf) ? room : sizeof(buf));

	if (n > 0)
		serial_input(vm, buf, n);
	return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
}

static bool vm_stopped(struct vm *vm)
{
	bool stopped;

	pthread_mutex_lock(&vm->lock);
	stopped = vm->stopped;
	pthread_mutex_unlock(&vm->lock);
	return stopped;
}

static void main_loop(struct vm *vm, struct control *control, int signals)
{
	bool input = !strcmp(vm->opt->console, "-");

	while (!vm_stopped(vm) && !control_quit_asked(control)) {
		struct pollfd pfd[3 + CONTROL_MAX_FDS] = {
			{ .fd = signals, .events = POLLIN },
			{ .fd = vm->wake_fd, .events = POLLIN },
			{ .fd = input && serial_room(vm) ? STDIN_FILENO : -1, .events = POLLIN },
		};
		unsigned int count = control_poll_add(control, pfd + 3);
		bool settled = migration_settled(vm);
		uint64_t wakeups;

		if (vm->opt->exit_when_gone && vm_run_state(vm) == MV_GONE &&
		    settled && !control_has_clients(control))
			break;
		if (poll(pfd, 3 + count, FLUSH_MS) < 0 && errno != EINTR)
			err(1, "poll");
		if (pfd[0].revents)
			break;
		if (pfd[1].revents && read(vm->wake_fd, &wakeups, sizeof(wakeups)) < 0)
			warn("eventfd");
		if (pfd[2].revents)
			input = read_console(vm);
		control_poll_done(control, pfd + 3, count);
		if (vm_run_state(vm) == MV_RUNNING && !migration_active(vm))
			serial_flush(vm, false);
	}
}

int main(int argc, char **argv)
{
	static struct vm vm;
	struct mv_options o = {
		.append = "console=ttyS0",
		.console = "-",
		.name = "minivm",
		.cpus = 1,
		.memory = 256ULL << 20,
		.memory_type = MV_MEMORY_ANON,
		.ring_entries = 4096,
	};
	struct control *control = NULL;
	int signals;

	parse_options(&o, argc, argv);
	signals = open_signals();
	vm_create(&vm, &o);
	migration_init(&vm);
	serial_init(&vm, open_console(&o));
	if (o.kernel)
		boot_linux(&vm);
	else if (o.flat)
		boot_flat(&vm);
	if (o.control)
		control = control_open(&vm, o.control);
	vcpus_start(&vm);
	migration_try_state(&vm, o.incoming);
	if (!o.incoming)
		vm_resume(&vm);
	main_loop(&vm, control, signals);

	migration_free(&vm);
	vcpus_join(&vm);
	serial_flush(&vm, true);
	control_close(control);
	vm_destroy(&vm);
	return vm.exit_status;
}
