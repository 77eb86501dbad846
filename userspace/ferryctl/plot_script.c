// SPDX-License-Identifier: GPL-2.0-only
/*
 * Gnuplot's script of a timeline: panels one above the other that share their time,
 * with the passes as bands, and below them the switchover by itself, magnified.
 *
 * Texts that come from a file stand in single quotes, in which gnuplot replaces
 * nothing, with their own quotes doubled. The colours can be told apart by the
 * colour-blind, and lines differ in dashes as well.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "plot.h"

#define BLUE		"#0072B2"
#define VERMILLION	"#D55E00"
#define GREEN		"#009E73"
#define PURPLE		"#AA4499"
#define ORANGE		"#E69F00"
#define LEFT_MARGIN	0.085
#define RIGHT_MARGIN	0.91
#define LABELLED	0.02		/* a pass that is narrower has no number */
#define MAX_BANDS	1000
#define HEADROOM	1.12		/* above the largest figure, for those numbers */

/* A panel's place, from the picture's bottom. */
struct place {
	double bottom;
	double top;
};

/* A unit of bytes for an axis, by what is largest on it. */
struct unit {
	const char *name;
	double bytes;
};

static struct unit unit_for(double most)
{
	static const struct unit units[] = {
		{ "TiB", 1099511627776.0 }, { "GiB", 1073741824.0 }, { "MiB", 1048576.0 },
		{ "KiB", 1024.0 },
	};
	size_t i = 0;

	while (i + 1 < sizeof(units) / sizeof(units[0]) && most < units[i].bytes)
		i++;
	return units[i];
}

static void put_quoted(FILE *to, const char *text)
{
	putc('\'', to);
	for (; *text; text++) {
		if (*text == '\'')
			putc('\'', to);
		putc((unsigned char)*text < ' ' || *text == 127 ? '?' : *text, to);
	}
	putc('\'', to);
}

static double most_of(const struct plot *plot, size_t offset)
{
	double value, most = 0;
	size_t i;

	for (i = 0; i < plot->nr; i++) {
		memcpy(&value, (const char *)&plot->samples[i] + offset, sizeof(value));
		if (value > most)
			most = value;
	}
	return most;
}

#define MOST(plot, field) most_of(plot, offsetof(struct plot_sample, field))

const char *plot_phase_name(uint32_t state)
{
	switch (state) {
	case KVM_FERRY_STATE_FINAL:
		return "final pass";
	case KVM_FERRY_STATE_PAUSED:
		return "VMM state";
	default:
		return "commit";
	}
}

static double end_of(const struct plot *plot)
{
	double end = plot->samples[plot->nr - 1].seconds;

	return end > 0 ? end : 1;
}

static void put_number(FILE *to, double value)
{
	if (isfinite(value))
		fprintf(to, " %.9g", value);
	else
		fputs(" NaN", to);
}

static void put_data(FILE *to, const struct plot *plot)
{
	const struct plot_sample *s;

	fputs("$data << END\n", to);
	for (s = plot->samples; s < plot->samples + plot->nr; s++) {
		put_number(to, s->seconds);
		put_number(to, s->sent);
		put_number(to, s->left);
		put_number(to, s->link);
		put_number(to, s->dirty);
		put_number(to, s->expected * 1000);
		put_number(to, s->limit * 1000);
		put_number(to, s->throttle);
		putc('\n', to);
	}
	fputs("END\n", to);
}

static void put_titles(FILE *to, const struct plot *plot)
{
	const struct kvm_ferry_stats *st = &plot->last.stats;
	bool sink = st->out_role == KVM_FERRY_SINK;
	const char *name = st->out_name[0] ? (const char *)st->out_name : "(no name)";
	const char *time = human_time(st->out_total_time_ns);
	char line[512];

	if (!strcmp(plot->outcome, "moved"))
		snprintf(line, sizeof(line), "Guest \"%s\" %s this host in %s", name,
			 sink ? "came to" : "left", time);
	else if (!strcmp(plot->outcome, "failed"))
		snprintf(line, sizeof(line), "Guest \"%s\" did not %s this host: %s after %s", name,
			 sink ? "come to" : "leave",
			 st->out_state == KVM_FERRY_STATE_ABORTED ? "aborted" : "failed", time);
	else if (!strcmp(plot->outcome, "in-doubt"))
		snprintf(line, sizeof(line), "Guest \"%s\" was to %s this host: in doubt after %s",
			 name, sink ? "come to" : "leave", time);
	else
		snprintf(line, sizeof(line), "Guest \"%s\" %s this host: seen for %s, not to the end",
			 name, sink ? "comes to" : "leaves", time);
	fputs("set label 1 ", to);
	put_quoted(to, line);
	fputs(" at screen 0.5,0.972 center noenhanced font ',16'\n", to);

	snprintf(line, sizeof(line), "%s, session %llu; %llu pass%s, %s %s over %u channel%s; "
		 "%s%s%s%s", ferry_role_name(st->out_role),
		 (unsigned long long)st->out_session_id,
		 (unsigned long long)st->out_dirty_sync_count,
		 st->out_dirty_sync_count == 1 ? "" : "es",
		 human_bytes(st->out_ram_transferred), sink ? "received" : "sent",
		 st->out_nr_channels, st->out_nr_channels == 1 ? "" : "s", st->out_downtime_ns ? "guest down for " : "guest never paused",
		 st->out_downtime_ns ? human_time(st->out_downtime_ns) : "",
		 *plot->when ? "; " : "", plot->when);
	fputs("set label 2 ", to);
	put_quoted(to, line);
	fputs(" at screen 0.5,0.945 center noenhanced font ',11'\n", to);
	if (*plot->reason && strcmp(plot->outcome, "moved")) {
		fputs("set label 3 ", to);
		put_quoted(to, plot->reason);
		fputs(" at screen 0.5,0.921 center noenhanced font ',11'\n", to);
	}
}

/* The passes, in all panels that follow; their numbers in the first only. */
static void put_bands(FILE *to, const struct plot *plot, bool numbers)
{
	const struct plot_sample *s = plot->samples;
	double end = end_of(plot), begin = 0, until;
	uint64_t pass = s[0].pass;
	unsigned int nr = 0;
	size_t i;

	for (i = 1; i <= plot->nr && nr < MAX_BANDS; i++) {
		if (i < plot->nr && s[i].pass == pass)
			continue;
		until = i < plot->nr ? s[i].seconds : end;
		if (pass % 2)
			fprintf(to, "set object %u rect from %.9g, graph 0 to %.9g, graph 1 "
				"fc rgb '#ececec' fs solid 1 noborder behind\n", ++nr, begin, until);
		if (numbers && pass && until - begin > LABELLED * end)
			fprintf(to, "set label %u '%llu' at %.9g, graph 0.95 center tc rgb '#555555' "
				"font ',9'\n", 100 + (unsigned int)i, (unsigned long long)pass,
				(begin + until) / 2);
		begin = until;
		if (i < plot->nr)
			pass = s[i].pass;
	}
	if (plot->nr_phases)
		fprintf(to, "set arrow 1 from %.9g, graph 0 to %.9g, graph 1 nohead dt 3 lc rgb 'black'\n",
			plot->phases[0].begin, plot->phases[0].begin);
}

/*
 * @unit: of the left axis, written where it is in all panels. @most: of what is drawn; a
 * panel of which nothing is known is empty, which gnuplot would not choose a range for.
 */
static void put_panel(FILE *to, const struct place *at, const char *title, const char *unit,
		      double most, bool last)
{
	fprintf(to, "set tmargin at screen %.4f\nset bmargin at screen %.4f\n", at->top, at->bottom);
	fprintf(to, "set label 10 '%s' at graph 0,1.0 offset 0,0.7 left font ',12'\n", title);
	fprintf(to, "set label 11 '%s' at screen 0.022,%.4f center rotate\n", unit,
		(at->bottom + at->top) / 2);
	fprintf(to, "set yrange [0:%.9g]\n", most > 0 ? most * HEADROOM : 1);
	fprintf(to, "set format x '%s'\n", last ? "%g" : "");
	fprintf(to, "set xlabel '%s' offset 0,0.3\n", last ? "seconds since the start" : "");
}

static void put_memory(FILE *to, const struct plot *plot, const struct place *at, bool last)
{
	bool sink = plot->last.stats.out_role == KVM_FERRY_SINK;
	double left = MOST(plot, left), sent = MOST(plot, sent);
	double most = sent > left ? sent : left;
	struct unit u = unit_for(most);

	put_panel(to, at, plot->nr_phases ?
		  "Memory; the bands are passes, and the guest was paused at the dotted line" :
		  "Memory; the bands are passes", u.name, most / u.bytes, last);
	fprintf(to, "plot $data using 1:($2/%.9g) with lines lw 2 lc rgb '" BLUE "' title '%s'",
		u.bytes, sink ? "received" : "sent");
	if (!sink)
		fprintf(to, ", $data using 1:($3/%.9g) with lines lw 2 dt '-' lc rgb '" GREEN
			"' title 'left to send'", u.bytes);
	putc('\n', to);
}

static void put_rates(FILE *to, const struct plot *plot, const struct place *at, bool last)
{
	bool sink = plot->last.stats.out_role == KVM_FERRY_SINK;
	double link = MOST(plot, link), dirty = MOST(plot, dirty), most = link > dirty ? link : dirty;
	double throttle = MOST(plot, throttle), bits = most * 8 >= 1e9 ? 1e9 : 1e6;
	struct unit u = unit_for(most);
	char unit[16];

	/* A limit far beyond what anybody does is of no account, and makes the rest small. */
	if (throttle > most)
		most = throttle < 1.25 * most ? throttle : 1.25 * most;

	snprintf(unit, sizeof(unit), "%s/s", u.name);
	put_panel(to, at, "Rates", unit, most / u.bytes, last);
	/* The same scale in what networks are sold by. */
	fprintf(to, "set label 12 '%s' at screen 0.978,%.4f center rotate\nset ytics nomirror\n"
		"set y2tics\nset y2range [0:%.9g]\n", bits > 1e6 ? "Gbit/s" : "Mbit/s",
		(at->bottom + at->top) / 2, most > 0 ? most * HEADROOM * 8 / bits : 1);
	fprintf(to, "plot $data using 1:($4/%.9g) with lines lw 2 lc rgb '" BLUE "' title '%s'",
		u.bytes, sink ? "what comes" : "what the link takes");
	if (!sink)
		fprintf(to, ", $data using 1:($5/%.9g) with lines lw 2 dt '-' lc rgb '" VERMILLION
			"' title 'what the guest dirties'", u.bytes);
	if (throttle > 0)
		fprintf(to, ", $data using 1:($8/%.9g) with steps lw 3 dt '-.' lc rgb '" ORANGE
			"' title 'limit of a vCPU'", u.bytes);
	fputs("\nunset y2tics\nunset label 12\nset ytics mirror\n", to);
}

static void put_downtime(FILE *to, const struct plot *plot, const struct place *at)
{
	bool limit = MOST(plot, limit) > 0;

	put_panel(to, at, "Downtime if the guest were paused then", "ms", 0, true);
	fputs("set logscale y 10\nset yrange [*:*]\n", to);
	fputs("plot $data using 1:6 with lines lw 2 lc rgb '" PURPLE "' title 'predicted'", to);
	if (limit)
		fputs(", $data using 1:7 with lines lw 2 dt '-' lc rgb 'black' title 'its limit'", to);
	fputs("\nunset logscale y\n", to);
}

static void put_switchover(FILE *to, const struct plot *plot, const struct place *at)
{
	static const char *const colours[PLOT_PHASES] = { BLUE, ORANGE, GREEN };
	double begin = plot->phases[0].begin, length = plot->phases[plot->nr_phases - 1].end - begin;
	const struct plot_phase *p;
	unsigned int i;

	fputs("unset arrow\nunset object\nunset label\nset format y ''\n"
	      "unset ytics\n", to);
	put_panel(to, at, "Switchover", "", 0, true);
	fprintf(to, "set xlabel 'milliseconds since the guest was paused' offset 0,0.3\n"
		"set xrange [0:%.9g]\n", length > 0 ? length * 1000 : 1);
	for (i = 0; i < plot->nr_phases; i++) {
		p = &plot->phases[i];
		fprintf(to, "set object %u rect from %.9g,0.2 to %.9g,0.8 fc rgb '%s' fs solid 1 noborder\n",
			i + 1, (p->begin - begin) * 1000, (p->end - begin) * 1000,
			colours[p->state - KVM_FERRY_STATE_FINAL]);
	}
	for (i = 0; i < plot->nr_phases; i++) {
		p = &plot->phases[i];
		fprintf(to, "%s NaN with boxes fs solid 1 lc rgb '%s' title '%s %s'", i ? "," : "plot",
			colours[p->state - KVM_FERRY_STATE_FINAL], plot_phase_name(p->state),
			human_time((uint64_t)((p->end - p->begin) * 1e9)));
	}
	putc('\n', to);
}

void plot_script(FILE *to, const struct plot *plot, bool svg)
{
	bool downtime = MOST(plot, expected) > 0, switchover = plot->nr_phases;
	/* Those that are there share the height. */
	double bottom = switchover ? 0.20 : 0.065, top = 0.875, gap = 0.055, third;
	struct place memory, rates, down = { bottom, bottom };
	const struct place last = { 0.065, 0.125 };

	if (downtime) {
		third = (top - bottom - 2 * gap) * 0.26;
		down.top = bottom + third;
		bottom = down.top + gap;
	}
	rates.bottom = bottom;
	rates.top = bottom + (top - bottom - gap) / 2;
	memory.bottom = rates.top + gap;
	memory.top = top;

	fprintf(to, svg ? "set terminal svg size 1200,1000 font 'sans-serif,12' background 'white'\n" :
			  "set terminal pngcairo size 1200,1000 font 'sans,11' background 'white'\n");
	put_data(to, plot);
	put_titles(to, plot);
	fprintf(to, "set multiplot\nset lmargin at screen %.3f\nset rmargin at screen %.3f\n",
		LEFT_MARGIN, RIGHT_MARGIN);
	fprintf(to, "set xrange [0:%.9g]\nset yrange [0:*]\n"
		"set grid xtics ytics lt 1 lw 0.5 lc rgb '#bbbbbb'\n", end_of(plot));
	fputs("set key at graph 1,1 right bottom horizontal samplen 3 noenhanced\n", to);
	put_bands(to, plot, true);
	put_memory(to, plot, &memory, false);
	fputs("unset label\n", to);
	put_rates(to, plot, &rates, !downtime);
	if (downtime)
		put_downtime(to, plot, &down);
	if (switchover)
		put_switchover(to, plot, &last);
	fputs("unset multiplot\n", to);
}
