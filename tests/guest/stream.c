// SPDX-License-Identifier: GPL-2.0-only
/* See stream.h. A counter crosses the wire as x86 has it in memory. */
#include <errno.h>
#include <sys/socket.h>
#include "stream.h"

void stream_begin(struct stream *s, int fd, uint64_t kib, uint64_t now_ns)
{
	s->fd = fd;
	s->rate = kib == STREAM_UNLIMITED ? kib : kib << 10;
	s->since_ns = now_ns;
	s->paced = s->in = s->out = s->wrong = s->right = 0;
}

size_t stream_due(struct stream *s, uint64_t now_ns)
{
	uint64_t all, due;

	if (s->rate == STREAM_UNLIMITED)
		return STREAM_WORDS * sizeof(uint64_t);
	all = (__uint128_t)(now_ns - s->since_ns) * s->rate / 1000000000;
	due = all - s->paced;
	if (due > s->rate) {
		/* More than a second behind: the connection stood still. Forget it. */
		s->since_ns = now_ns;
		s->paced = 0;
		return 0;
	}
	if (due * 1000 < s->rate * STREAM_TICK_MS)
		return 0;
	return due < STREAM_WORDS * sizeof(uint64_t) ? due : STREAM_WORDS * sizeof(uint64_t);
}

enum stream_result stream_send(struct stream *s, uint64_t now_ns)
{
	size_t due = stream_due(s, now_ns), skip = s->out % sizeof(uint64_t), i;
	uint64_t first = s->out / sizeof(uint64_t);
	ssize_t n;

	if (!due)
		return STREAM_GOOD;
	for (i = 0; i * sizeof(uint64_t) < skip + due; i++)
		s->out_words[i] = first + i;
	n = send(s->fd, (char *)s->out_words + skip, due, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? STREAM_GOOD : STREAM_BROKEN;
	s->out += n;
	s->paced += n;
	return STREAM_GOOD;
}

enum stream_result stream_receive(struct stream *s)
{
	size_t had = s->in % sizeof(uint64_t), words, i;
	uint64_t first = s->in / sizeof(uint64_t);
	ssize_t n;

	/* A counter of which only a part came yet is at the beginning. */
	n = recv(s->fd, (char *)s->in_words + had, STREAM_WORDS * sizeof(uint64_t), MSG_DONTWAIT);
	if (!n)
		return STREAM_END;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? STREAM_GOOD : STREAM_BROKEN;
	words = (had + n) / sizeof(uint64_t);
	for (i = 0; i < words; i++) {
		if (s->in_words[i] != first + i) {
			s->wrong = s->in_words[i];
			s->right = first + i;
			return STREAM_WRONG;
		}
	}
	s->in += n;
	if (words)
		s->in_words[0] = s->in_words[words];
	return STREAM_GOOD;
}
