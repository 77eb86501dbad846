/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between the kernels that we build for. The code elsewhere is
 * written to the newest API; each shim says which release changed it. Kbuild
 * probes the headers, since distributions backport and version numbers lie.
 */
#ifndef FERRY_COMPAT_H
#define FERRY_COMPAT_H

#include <linux/bvec.h>
#include <linux/mm.h>
#include <linux/net.h>
#include <linux/socket.h>
#include <linux/uio.h>

/* 6.5 dropped the vmas argument: get_user_pages_remote(), pin_user_pages_remote(). */
#ifdef FERRY_GUP_REMOTE_TAKES_VMAS
static inline long ferry_get_user_pages_remote(struct mm_struct *mm, unsigned long addr,
					       unsigned long nr, unsigned int flags,
					       struct page **pages, int *locked)
{
	return get_user_pages_remote(mm, addr, nr, flags, pages, NULL, locked);
}

static inline long ferry_pin_user_pages_remote(struct mm_struct *mm, unsigned long addr,
					       unsigned long nr, unsigned int flags,
					       struct page **pages, int *locked)
{
	return pin_user_pages_remote(mm, addr, nr, flags, pages, NULL, locked);
}

#define get_user_pages_remote ferry_get_user_pages_remote
#define pin_user_pages_remote ferry_pin_user_pages_remote
#endif

/*
 * 6.5 replaced kernel_sendpage() by MSG_SPLICE_PAGES. The flag's presence
 * proves nothing: 6.1 stable defines it, and its TCP ignores it and copies.
 */
#ifdef FERRY_HAVE_KERNEL_SENDPAGE
static inline int ferry_sock_splice(struct socket *sock, struct bio_vec *bv, unsigned int nr,
				    size_t bytes, int flags)
{
	unsigned int i;
	int sent = 0;

	for (i = 0; i < nr; i++) {
		bool last = i + 1 == nr;
		int ret = kernel_sendpage(sock, bv[i].bv_page, bv[i].bv_offset, bv[i].bv_len,
					  flags | (last ? 0 : MSG_MORE | MSG_SENDPAGE_NOTLAST));

		if (ret < 0)
			return sent ? sent : ret;
		sent += ret;
		if ((unsigned int)ret < bv[i].bv_len)
			break;
	}
	return sent;
}
#else
static inline int ferry_sock_splice(struct socket *sock, struct bio_vec *bv, unsigned int nr,
				    size_t bytes, int flags)
{
	struct msghdr msg = { .msg_flags = flags | MSG_SPLICE_PAGES };

	iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, bv, nr, bytes);
	return sock_sendmsg(sock, &msg);
}
#endif

#endif /* FERRY_COMPAT_H */
