// SPDX-License-Identifier: GPL-2.0-only
/*
 * migrate, receive: a VMM that has a control socket gives its guest away or
 * takes one. ferryctl makes the connections and hands them over; the VMM does
 * the rest by itself.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "follow.h"

#define DEFAULT_CHANNELS	2
#define CONNECT_MS		10000

static const char migrate_help[] =
	"Usage: ferryctl migrate SOCKET tcp:HOST:PORT [OPTIONS]\n\n"
	"Move the guest of the VMM at the control socket SOCKET to the host where\n"
	"'ferryctl receive' (or another receiver) listens at HOST:PORT.\n\n"
	"  --channels N         data connections, 1 to 16 (2)\n"
	"  --bandwidth RATE     limit on all of them together: 1Gbit, 100M (none)\n"
	"  --downtime TIME      pause the guest when the predicted downtime is not above\n"
	"                       it (300ms)\n"
	"  --verify             compare both memories before the guest changes hands\n"
	"  --peer-timeout TIME  take a silent peer for dead after it (10s)\n"
	"  --inflight SIZE      bytes a connection may hold queued (4M)\n"
	"  --timeout TIME       for connecting (10s)\n"
	"  --no-wait            do not wait for the end\n"
	"  --json               print the result as JSON\n\n"
	"Ctrl-C cancels the migration. Exits with 0 if the guest has moved, 6 if the\n"
	"migration failed and the guest runs on here, 7 if it is in doubt.\n";

static const char receive_help[] =
	"Usage: ferryctl receive SOCKET tcp:[ADDR:]PORT [OPTIONS]\n\n"
	"Listen at the address, and let the waiting VMM at the control socket SOCKET\n"
	"take the guest that comes.\n\n"
	"  --channels N         take only a peer with N data connections (any)\n"
	"  --peer-timeout TIME  take a silent peer for dead after it (10s)\n"
	"  --inflight SIZE      bytes a connection may hold queued (4M)\n"
	"  --timeout TIME       give up if no migration has come by then (never)\n"
	"  --no-wait            do not wait for the end\n"
	"  --json               print the result as JSON\n\n"
	"Exits with 0 if the guest runs here, 6 if it stays at its source.\n";

/* Connects to the VMM and looks whether it can do what it will be asked for. */
static int meet_vmm(struct vmm *vmm, const char *path, bool receive)
{
	struct vmm_status status;

	if (vmm_connect(vmm, path) || vmm_status(vmm, &status)) {
		complain("%s", vmm->error);
		vmm_close(vmm);
		return CTL_ERROR;
	}
	if (status.migrating ||
	    (status.has_session && !ferry_state_ended(status.session.stats.out_state)))
		complain("a migration of this VMM is under way already; 'ferryctl list' shows it");
	else if (receive && strcmp(status.vm, "incoming"))
		complain("this VMM waits for no guest (its guest is %s); start it with --incoming",
			 status.vm);
	else if (!receive && strcmp(status.vm, "running") && strcmp(status.vm, "paused"))
		complain("this VMM has no guest to give away (its guest is %s)", status.vm);
	else
		return CTL_OK;
	vmm_close(vmm);
	return CTL_ERROR;
}

static int migrate(struct migrate_options *opt, const char *path, const char *where)
{
	struct tcp_address addr;
	struct ferry_sockets socks;
	struct vmm vmm;
	int ret;

	if (parse_tcp(where, true, &addr))
		return usage_error("migrate", "'%s' is not an address such as tcp:host2:7000 or "
				   "tcp:[2001:db8::1]:7000", where);
	ret = meet_vmm(&vmm, path, false);
	if (ret)
		return ret;
	if (ferry_connect(&socks, addr.host, addr.port,
			  opt->nr_channels ? opt->nr_channels : DEFAULT_CHANNELS,
			  opt->timeout_ms)) {
		complain("%s", ferry_error());
		ret = CTL_ERROR;
	} else {
		ret = hand_over_and_follow(&vmm, "migrate", opt, &socks);
	}
	vmm_close(&vmm);
	return ret;
}

static int receive(struct migrate_options *opt, const char *path, const char *where)
{
	struct tcp_address addr;
	struct ferry_sockets socks;
	struct vmm vmm;
	int fd, ret;

	if (parse_tcp(where, false, &addr))
		return usage_error("receive", "'%s' is not an address such as tcp:7000, "
				   "tcp:10.0.0.2:7000 or tcp:[::1]:7000", where);
	ret = meet_vmm(&vmm, path, true);
	if (ret)
		return ret;
	fd = ferry_listen(addr.host, addr.port);
	if (fd < 0) {
		complain("%s", ferry_error());
		vmm_close(&vmm);
		return CTL_ERROR;
	}
	/* Nobody but the one who waits for it needs to know: not to stdout. */
	fprintf(stderr, "ferryctl: listening at %s\n", where);
	ret = ferry_accept(&socks, fd, opt->nr_channels, opt->timeout_ms);
	close(fd);
	if (ret) {
		complain("%s", ret == -EINTR ? "interrupted; no guest was taken" : ferry_error());
		ret = CTL_ERROR;
	} else {
		ret = hand_over_and_follow(&vmm, "receive", opt, &socks);
	}
	vmm_close(&vmm);
	return ret;
}

static int run(int argc, char **argv, bool receiving)
{
	struct migrate_options opt = {
		.request = json_object_new_object(),
		.print = &print_text,
		.timeout_ms = receiving ? -1 : CONNECT_MS,
		.wait = true,
	};
	int ret;

	ret = migrate_options_parse(&opt, argc, argv, receiving,
				    receiving ? receive_help : migrate_help);
	if (!ret) {
		interrupts_begin();
		ret = (receiving ? receive : migrate)(&opt, argv[optind], argv[optind + 1]);
	}
	json_object_put(opt.request);
	return ret < 0 ? CTL_OK : ret;
}

int cmd_migrate(int argc, char **argv)
{
	return run(argc, argv, false);
}

int cmd_receive(int argc, char **argv)
{
	return run(argc, argv, true);
}
