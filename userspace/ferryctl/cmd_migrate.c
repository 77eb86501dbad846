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

#define CONNECT_MS		10000

static const char migrate_help[] =
	"Usage: ferryctl migrate SOCKET tcp:HOST:PORT [OPTIONS]\n"
	"       ferryctl migrate SOCKET rdma:HOST:PORT [OPTIONS]\n"
	"       ferryctl migrate SOCKET rdma+tcp:HOST:PORT [OPTIONS]\n\n"
	"Move the guest of the VMM at the control socket SOCKET to the host where\n"
	"'ferryctl receive' (or another receiver) listens at HOST:PORT. With rdma: page\n"
	"data goes by RDMA, which is not encrypted, and HOST is an address of an RDMA\n"
	"device there. With rdma+tcp: data connections that cannot be made by RDMA are\n"
	"TCP.\n\n"
	"  --channels N            data connections, 1 to 16 (2)\n"
	"  --bandwidth RATE        limit on all of them together: 1Gbit, 100M (none)\n"
	"  --final-bandwidth RATE  limit while the guest is paused; 0: none (same)\n"
	"  --downtime TIME         pause the guest when the predicted downtime is not above\n"
	"                          it (300ms)\n"
	"  --throttle POLICY       hold back vCPUs that dirty memory too fast: never, auto,\n"
	"                          or pages a second that each may dirty (never)\n"
	"  --throttle-floor PAGES  pages a second that auto leaves each vCPU; 0, the default: as suits\n"
	"                          the link\n"
	"  --verify                compare both memories before the guest changes hands\n"
	"  --peer-timeout TIME     take a silent peer for dead after it (10s)\n"
	"  --inflight SIZE         bytes a connection may hold queued (4M)\n"
	"  --timeout TIME          for connecting (10s)\n"
	"  --when-cheap[=TIME]     measure the guest in windows of TIME (2s), and start when a\n"
	"                          migration would take little\n"
	"  --deadline TIME         with --when-cheap: start by then whatever it takes\n"
	"  --or-not                with --deadline: or do not start at all\n"
	"  --no-wait               do not wait for the end\n"
	"  --record FILE           write its timeline, for 'ferryctl plot'\n"
	"  --json                  print the result as JSON\n\n"
	"Ctrl-C cancels the migration. Exits with 0 if the guest has moved, 6 if the\n"
	"migration failed and the guest runs on here, 7 if it is in doubt, 9 if no moment was\n"
	"cheap (--or-not).\n";

static const char receive_help[] =
	"Usage: ferryctl receive SOCKET tcp:[ADDR:]PORT [OPTIONS]\n"
	"       ferryctl receive SOCKET rdma:[ADDR:]PORT [OPTIONS]\n"
	"       ferryctl receive SOCKET rdma+tcp:[ADDR:]PORT [OPTIONS]\n\n"
	"Listen at the address, and let the waiting VMM at the control socket SOCKET\n"
	"take the guest that comes. With rdma: page data comes by RDMA, to the address\n"
	"that the peer connects to, which has to be an RDMA device's. With rdma+tcp: a\n"
	"peer is taken that comes in any of the three ways.\n\n"
	"  --channels N         take only a peer with N data connections (any)\n"
	"  --peer-timeout TIME  take a silent peer for dead after it (10s)\n"
	"  --inflight SIZE      bytes a connection may hold queued (4M)\n"
	"  --max-pinned SIZE    guest memory that RDMA may have pinned at once, at least\n"
	"                       4M a connection (256M); all: all of it, beforehand\n"
	"  --timeout TIME       give up if no migration has come by then (never)\n"
	"  --no-wait            do not wait for the end\n"
	"  --record FILE        write its timeline, for 'ferryctl plot'\n"
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
	struct address addr;
	struct ferry_sockets socks;
	struct vmm vmm;
	int ret;

	if (parse_address(where, true, &addr))
		return usage_error("migrate", "'%s' is not an address such as tcp:host2:7000, "
				   "tcp:[2001:db8::1]:7000, rdma:host2:7000 or "
				   "rdma+tcp:host2:7000", where);
	ret = meet_vmm(&vmm, path, false);
	if (!ret && opt->cheap_ns) {
		ret = wait_until_cheap(&vmm, opt);
		if (ret)
			vmm_close(&vmm);
	}
	if (ret)
		return ret;
	if (connect_peer(&socks, &addr, opt)) {
		complain("%s", ferry_error());
		ret = CTL_ERROR;
	} else {
		if (addr.rdma && !socks.rdma_port)
			complain("%s", ferry_error());
		ret = hand_over_and_follow(&vmm, "migrate", opt, &socks);
	}
	vmm_close(&vmm);
	return ret;
}

static int receive(struct migrate_options *opt, const char *path, const char *where)
{
	int (*accept)(struct ferry_sockets *out, int listen_fd, unsigned int nr_data, int timeout_ms);
	struct address addr;
	struct ferry_sockets socks;
	struct vmm vmm;
	int fd, ret;

	if (parse_address(where, false, &addr))
		return usage_error("receive", "'%s' is not an address such as tcp:7000, "
				   "tcp:10.0.0.2:7000, tcp:[::1]:7000, rdma:7000 or "
				   "rdma+tcp:7000", where);
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
	accept = !addr.rdma ? ferry_accept : addr.tcp ? ferry_accept_rdma_or_tcp : ferry_accept_rdma;
	ret = accept(&socks, fd, opt->nr_channels, opt->timeout_ms);
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
	if (!ret)
		ret = record_open(&opt.record, opt.record_path, 0);
	if (!ret) {
		interrupts_begin();
		ret = (receiving ? receive : migrate)(&opt, argv[optind], argv[optind + 1]);
	}
	record_close(opt.record);
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
