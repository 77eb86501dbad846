// SPDX-License-Identifier: GPL-2.0-only
/*
 * Figures in the text format of Prometheus: a table of them. Units are seconds and
 * bytes. A figure that is not known, or is none of this end of a migration, is not
 * there at all.
 */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "metrics.h"

/* Of which end it is a figure. */
enum end { BOTH, SOURCE, SINK };

enum unit {
	COUNT,		/* as it is: pieces, or bytes */
	SECONDS,	/* is nanoseconds */
	PAGES,		/* is pages, becomes bytes */
};

/**
 * struct metric - a figure of a session
 * @name: behind "kvm_ferry_session_"
 * @help: what it is
 * @counter: it only grows; else it is a gauge
 * @end: whose it is
 * @unit: what the field has
 * @offset: of the field, in struct kvm_ferry_stats
 * @size: of it
 */
struct metric {
	const char *name;
	const char *help;
	bool counter;
	enum end end;
	enum unit unit;
	size_t offset;
	size_t size;
};

#define METRIC(name, counter, end, unit, field, help) \
	{ name, help, counter, end, unit, offsetof(struct kvm_ferry_stats, out_##field), \
	  sizeof(((struct kvm_ferry_stats *)0)->out_##field) }
#define GAUGE(name, end, unit, field, help) METRIC(name, false, end, unit, field, help)
#define COUNTER(name, end, unit, field, help) METRIC(name, true, end, unit, field, help)

static const struct metric metrics[] = {
	GAUGE("duration_seconds", BOTH, SECONDS, total_time_ns,
	      "Time since the start, or from it to the end."),
	GAUGE("setup_seconds", BOTH, SECONDS, setup_time_ns,
	      "Time from the start until both ends had agreed."),
	GAUGE("downtime_seconds", BOTH, SECONDS, downtime_ns,
	      "Time that the guest was paused for, so far."),
	GAUGE("expected_downtime_seconds", SOURCE, SECONDS, expected_downtime_ns,
	      "Predicted downtime if the guest were paused now."),
	GAUGE("memory_bytes", BOTH, COUNT, ram_total, "Guest memory in all."),
	GAUGE("remaining_bytes", SOURCE, COUNT, ram_remaining, "Guest memory that is left to send."),
	GAUGE("queued_bytes", SOURCE, COUNT, ram_queued, "Sent, and not acknowledged yet."),
	COUNTER("transferred_bytes_total", BOTH, COUNT, ram_transferred,
		"Bytes on the data channels, with headers."),
	COUNTER("acknowledged_bytes_total", SOURCE, COUNT, ram_acked,
		"Bytes that the sink's host has acknowledged."),
	COUNTER("pages_transferred_total", BOTH, COUNT, ram_normal, "Pages that travelled."),
	COUNTER("pages_zero_total", BOTH, COUNT, ram_duplicate,
		"Pages that were zero, and did not travel."),
	COUNTER("pages_hole_total", SOURCE, COUNT, ram_hole,
		"Zero pages that were never allocated."),
	COUNTER("pages_skipped_total", SINK, COUNT, ram_skipped_clear,
		"Zero pages that were clear already."),
	COUNTER("passes_total", BOTH, COUNT, dirty_sync_count, "Passes that were begun."),
	GAUGE("dirty_bytes_per_second", SOURCE, PAGES, dirty_pages_rate,
	      "Guest memory that becomes dirty, of late."),
	COUNTER("dirty_pages_total", SOURCE, COUNT, dirty_pages, "Pages that became dirty."),
	GAUGE("link_bytes_per_second", SOURCE, COUNT, link_rate,
	      "What the data channels take, of late."),
	COUNTER("pacing_seconds_total", SOURCE, SECONDS, pacing_ns,
		"Time slept to keep the bandwidth limit."),
	COUNTER("ring_entries_total", SOURCE, COUNT, ring_entries, "Dirty ring entries harvested."),
	COUNTER("ring_resets_total", SOURCE, COUNT, ring_resets, "Resets of the dirty rings."),
	COUNTER("ring_full_total", SOURCE, COUNT, ring_full, "Times that a vCPU met a full ring."),
	COUNTER("ring_full_seconds_total", SOURCE, SECONDS, ring_full_ns,
		"Time that vCPUs waited at full rings."),
	GAUGE("throttled_vcpus", SOURCE, COUNT, throttled_rings, "vCPUs whose rate is limited."),
	GAUGE("throttle_bytes_per_second", SOURCE, PAGES, throttle_rate,
	      "Guest memory that each of them may dirty, on average; 0: none is limited."),
	COUNTER("throttle_seconds_total", SOURCE, SECONDS, throttle_ns,
		"Of the time at full rings, what vCPUs waited to keep that limit."),
	COUNTER("harvest_seconds_total", SOURCE, SECONDS, harvest_ns, "Time spent harvesting."),
	COUNTER("reset_seconds_total", SOURCE, SECONDS, reset_ns, "Time spent in resetting rings."),
	COUNTER("extents_total", BOTH, COUNT, extents, "Extents sent or received."),
	COUNTER("batches_total", BOTH, COUNT, batches, "Batches sent or received."),
	COUNTER("state_bytes_total", BOTH, COUNT, state_bytes, "VMM state sent or received."),
	GAUGE("data_channels", BOTH, COUNT, nr_channels, "Data channels."),
	GAUGE("rdma_channels", BOTH, COUNT, rdma_channels, "Data channels that go over RDMA."),
	COUNTER("rdma_windows_total", SINK, COUNT, windows, "Windows opened for RDMA."),
	GAUGE("pinned_bytes", SINK, COUNT, pinned_bytes, "Guest memory that is pinned for RDMA."),
	GAUGE("pinned_peak_bytes", SINK, COUNT, pinned_most_bytes,
	      "The most that was pinned for RDMA."),
	GAUGE("bookkeeping_bytes", BOTH, COUNT, bookkeeping_bytes,
	      "Memory that the session's bitmaps take."),
};

#define NR_METRICS (sizeof(metrics) / sizeof(metrics[0]))
#define NR_STATES (KVM_FERRY_STATE_IN_DOUBT + 1)

static void put_head(FILE *to, const char *name, const char *type, const char *help)
{
	fprintf(to, "# HELP kvm_ferry_%s %s\n# TYPE kvm_ferry_%s %s\n", name, help, name, type);
}

/* A label's value, in double quotes. */
static void put_value(FILE *to, const char *text)
{
	putc('"', to);
	for (; *text; text++) {
		/* The module takes printable ASCII only; whatever else came would not be UTF-8. */
		if (*text < ' ' || *text > '~')
			putc('?', to);
		else if (*text == '"' || *text == '\\')
			fprintf(to, "\\%c", *text);
		else
			putc(*text, to);
	}
	putc('"', to);
}

/* "kvm_ferry_session_NAME{session=...", without the closing brace. */
static void put_session(FILE *to, const char *name, const struct session_view *view)
{
	fprintf(to, "kvm_ferry_session_%s{session=\"%llu\",name=", name,
		(unsigned long long)view->stats.out_session_id);
	put_value(to, (const char *)view->stats.out_name);
	fprintf(to, ",role=\"%s\"", ferry_role_name(view->stats.out_role));
}

static void put_seconds(FILE *to, uint64_t ns)
{
	fprintf(to, "%llu.%09llu\n", (unsigned long long)(ns / 1000000000),
		(unsigned long long)(ns % 1000000000));
}

static bool read_field(const struct metric *m, const struct session_view *view, uint64_t *value)
{
	const char *at = (const char *)&view->stats + m->offset;
	uint32_t small;

	if ((m->end == SOURCE && view->stats.out_role != KVM_FERRY_SOURCE) ||
	    (m->end == SINK && view->stats.out_role != KVM_FERRY_SINK))
		return false;
	if (m->size == sizeof(small)) {
		memcpy(&small, at, sizeof(small));
		*value = small;
	} else {
		memcpy(value, at, sizeof(*value));
	}
	/* How the module says that it does not know. */
	return *value != UINT64_MAX;
}

static void put_metric(FILE *to, const struct metric *m, const struct session_view *views,
		       size_t count)
{
	char name[80];
	uint64_t value;
	size_t i;

	snprintf(name, sizeof(name), "session_%s", m->name);
	put_head(to, name, m->counter ? "counter" : "gauge", m->help);
	for (i = 0; i < count; i++) {
		if (!read_field(m, &views[i], &value))
			continue;
		put_session(to, m->name, &views[i]);
		fputs("} ", to);
		if (m->unit == SECONDS)
			put_seconds(to, value);
		else
			fprintf(to, "%llu\n", (unsigned long long)
				(m->unit == PAGES ? value * KVM_FERRY_PAGE_SIZE : value));
	}
}

static void put_states(FILE *to, const struct session_view *views, size_t count)
{
	uint32_t state;
	size_t i;

	put_head(to, "session_state", "gauge", "1 for the state that the session is in, else 0.");
	for (i = 0; i < count; i++)
		for (state = 0; state < NR_STATES; state++) {
			put_session(to, "state", &views[i]);
			fprintf(to, ",state=\"%s\"} %d\n", ferry_state_name(state),
				views[i].stats.out_state == state);
		}
	put_head(to, "session_error", "gauge", "1 for the error that ended the session.");
	for (i = 0; i < count; i++) {
		if (!views[i].stats.out_error)
			continue;
		put_session(to, "error", &views[i]);
		fprintf(to, ",error=\"%s\"} 1\n", ferry_errno_name((int)views[i].stats.out_error));
	}
}

/* A sink has none: the source's holds. */
static void put_bandwidth(FILE *to, const char *name, const char *help,
			  const struct session_view *views, size_t count, bool final)
{
	char whole[80];
	size_t i;

	snprintf(whole, sizeof(whole), "session_%s", name);
	put_head(to, whole, "gauge", help);
	for (i = 0; i < count; i++) {
		const struct kvm_ferry_limits *l = &views[i].limits;
		uint64_t limit = l->max_bandwidth;

		if (final && l->final_bandwidth != KVM_FERRY_BANDWIDTH_SAME)
			limit = l->final_bandwidth;
		if (!views[i].has_limits || !limit ||
		    views[i].stats.out_role != KVM_FERRY_SOURCE)
			continue;
		put_session(to, name, &views[i]);
		fprintf(to, "} %llu\n", (unsigned long long)limit);
	}
}

static void put_limits(FILE *to, const struct session_view *views, size_t count)
{
	size_t i;

	put_head(to, "session_downtime_limit_seconds", "gauge",
		 "Predicted downtime at which the VMM is told that it may pause the guest.");
	for (i = 0; i < count; i++) {
		if (!views[i].has_limits)
			continue;
		put_session(to, "downtime_limit_seconds", &views[i]);
		fputs("} ", to);
		put_seconds(to, views[i].limits.downtime_limit_ns);
	}
	put_bandwidth(to, "bandwidth_limit_bytes_per_second",
		      "What all data channels together may take; none without a limit.",
		      views, count, false);
	put_bandwidth(to, "final_bandwidth_limit_bytes_per_second",
		      "The same while the guest is paused; none without a limit.",
		      views, count, true);
}

/* What all sources of this host share. */
static void put_host(FILE *to, const struct kvm_ferry_host_limits *host)
{
	put_head(to, "host_bandwidth_limit_bytes_per_second", "gauge",
		 "What all data channels of all sources together may take; none without a limit.");
	if (host->max_bandwidth)
		fprintf(to, "kvm_ferry_host_bandwidth_limit_bytes_per_second %llu\n",
			(unsigned long long)host->max_bandwidth);
	put_head(to, "host_share_bytes_per_second", "gauge",
		 "Of that, what a source gets now; none without a limit.");
	if (host->out_share)
		fprintf(to, "kvm_ferry_host_share_bytes_per_second %llu\n",
			(unsigned long long)host->out_share);
	put_head(to, "host_sending_sessions", "gauge",
		 "Sources that have sent something within the last second.");
	fprintf(to, "kvm_ferry_host_sending_sessions %u\n", host->out_sessions);
	put_head(to, "host_transferred_bytes_total", "counter",
		 "Bytes that all sources have sent since the module was loaded, with headers.");
	fprintf(to, "kvm_ferry_host_transferred_bytes_total %llu\n",
		(unsigned long long)host->out_transferred);
}

/* How many sessions there are, of each role in each state. */
static void put_sessions(FILE *to, const struct session_view *views, size_t count)
{
	uint32_t role, state;
	unsigned int nr;
	size_t i;

	put_head(to, "sessions", "gauge", "Sessions of this host.");
	for (role = KVM_FERRY_SOURCE; role <= KVM_FERRY_SINK; role++)
		for (state = 0; state < NR_STATES; state++) {
			for (i = nr = 0; i < count; i++)
				nr += views[i].stats.out_role == role &&
				      views[i].stats.out_state == state;
			fprintf(to, "kvm_ferry_sessions{role=\"%s\",state=\"%s\"} %u\n",
				ferry_role_name(role), ferry_state_name(state), nr);
		}
}

static void put_module(FILE *to, const struct kvm_ferry_info *info)
{
	static const char *const transports[] = {
		[KVM_FERRY_TRANSPORT_TCP] = "tcp", [KVM_FERRY_TRANSPORT_LOOP] = "loop",
		[KVM_FERRY_TRANSPORT_RDMA] = "rdma",
		[KVM_FERRY_TRANSPORT_OWN] = "own",
	};
	size_t i;

	put_head(to, "module_info", "gauge", "The kvm_ferry module; always 1.");
	fputs("kvm_ferry_module_info{version=", to);
	put_value(to, (const char *)info->out_release);
	fprintf(to, ",uapi_version=\"%u\",wire_version=\"%u\",wire_version_min=\"%u\"} 1\n",
		info->out_uapi_version, info->out_wire_version, info->out_wire_version_min);
	put_head(to, "transport_available", "gauge", "1 if the module has the transport at hand.");
	for (i = 0; i < sizeof(transports) / sizeof(transports[0]); i++)
		fprintf(to, "kvm_ferry_transport_available{transport=\"%s\"} %d\n", transports[i],
			info->out_transports >> i & 1 ? 1 : 0);
}

void metrics_print(FILE *to, const struct kvm_ferry_info *info,
		   const struct kvm_ferry_host_limits *host, const struct session_view *views,
		   size_t count)
{
	size_t i;

	put_head(to, "up", "gauge", "1 if the kvm_ferry module could be asked.");
	fprintf(to, "kvm_ferry_up %d\n", !!info);
	if (!info)
		return;
	put_module(to, info);
	if (host)
		put_host(to, host);
	put_sessions(to, views, count);
	put_states(to, views, count);
	put_limits(to, views, count);
	for (i = 0; i < NR_METRICS; i++)
		put_metric(to, &metrics[i], views, count);
}
