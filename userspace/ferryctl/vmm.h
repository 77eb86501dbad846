/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The client's side of a VMM's control socket: AF_UNIX, SOCK_SEQPACKET, a JSON
 * object a packet.
 */
#ifndef VMM_H
#define VMM_H

#include <json-c/json.h>

#include "ctl.h"

#define VMM_PACKET_MAX 4096

struct vmm {
	int fd;
	char error[256];	/* why the last call failed */
};

/* What a VMM tells of itself. */
struct vmm_status {
	char vm[16];		/* "running", "paused", "incoming", "gone", "in-doubt" */
	char name[64];
	uint64_t memory;	/* bytes; 0: it does not say */
	bool migrating;		/* busy with it, before, during or after the session */
	bool has_session;
	struct session_view session;
};

/* All return 0 or a negative errno, and set @vmm->error then. */
int vmm_connect(struct vmm *vmm, const char *path);
void vmm_close(struct vmm *vmm);
/*
 * Sends @request (and puts it) with file descriptors, waits for the answer. An
 * answer that says "ok": false is -EREMOTEIO with the VMM's own sentence. @reply
 * may be NULL.
 */
int vmm_call(struct vmm *vmm, struct json_object *request, const int *fds, unsigned int nr_fds,
	     struct json_object **reply);
/* A command that has no keys. */
int vmm_order(struct vmm *vmm, const char *cmd);
int vmm_status(struct vmm *vmm, struct vmm_status *status);

#endif /* VMM_H */
