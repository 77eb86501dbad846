/* SPDX-License-Identifier: GPL-2.0 */
/* An RDMA device for tests: Soft-RoCE over a network device that leads to nowhere else. */
#ifndef RDMA_LINK_H
#define RDMA_LINK_H

#include <netinet/in.h>

/* The module, the device, and its network; bails out if one of them does not come. */
void rdma_up(void);
void rdma_down(void);
/* Of the device, port 0. */
struct sockaddr_in rdma_address(void);
/* A command that must succeed. */
void must(const char *command);

#endif
