// SPDX-License-Identifier: GPL-2.0
/* See rdma_link.h (no test itself). */
#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>

#include "rdma_link.h"
#include "tap.h"

void must(const char *command)
{
	if (system(command))
		tap_bail("failed: %s", command);
}

void rdma_up(void)
{
	/* Of a test that was cut off. */
	if (!access("/sys/class/net/ferry0", F_OK))
		rdma_down();
	must("modprobe -a rdma_rxe rdma_cm && insmod /lab/kvm_ferry_rdma.ko");
	must("ip link add ferry0 type veth peer name ferry1 && ip addr add 10.99.0.1/24 dev ferry0 && "
	     "ip link set ferry0 up && ip link set ferry1 up");
	must("rdma link add rxe0 type rxe netdev ferry0");
}

void rdma_down(void)
{
	must("rdma link delete rxe0; ip link del ferry0");
}

struct sockaddr_in rdma_address(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };

	inet_pton(AF_INET, "10.99.0.1", &addr.sin_addr);
	return addr;
}
