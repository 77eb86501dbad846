/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A terminal that is drawn on as a whole, and left as it was.
 *
 * These are the few escape sequences that every terminal since xterm knows: a
 * library for it would be one more thing to install on a hypervisor.
 */
#ifndef TERM_H
#define TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether standard output is a terminal that can be drawn on. */
bool term_usable(void);

/*
 * From here on SIGINT, SIGTERM, SIGHUP and SIGQUIT end term_wait(), and the program
 * is asked to stop; with or without a terminal.
 */
void term_signals(void);

/* Another screen than the one with the shell's lines, without cursor and echo. */
void term_enter(void);
/* Back to that. Does nothing if it is shown already. */
void term_leave(void);

/**
 * enum term_event - why term_wait() has returned
 * @TERM_NOTHING: the time is over
 * @TERM_REDRAW: the terminal has another size, or was somebody else's meanwhile
 * @TERM_QUIT: a signal, or the key q
 */
enum term_event {
	TERM_NOTHING,
	TERM_REDRAW,
	TERM_QUIT,
};

/* Sleeps. The terminal's keys and signals are seen only here. */
enum term_event term_wait(uint64_t ns);

/**
 * struct frame - a picture of the terminal
 * @rows: its size
 * @columns: its size
 * @row: lines that were put into it
 * @utf8: whether other characters than ASCII can be shown
 * @colour: whether colours are wanted
 * @text: the lines, with escape sequences
 * @length: of @text
 */
struct frame {
	unsigned int rows;
	unsigned int columns;
	unsigned int row;
	bool utf8;
	bool colour;
	char text[128 * 1024];
	size_t length;
};

/* Colours and the like, for frame_put(); all end with FRAME_PLAIN. */
#define FRAME_PLAIN	"\033[0m"
#define FRAME_BOLD	"\033[1m"
#define FRAME_INVERSE	"\033[7m"
#define FRAME_RED	"\033[31m"
#define FRAME_GREEN	"\033[32m"
#define FRAME_MAGENTA	"\033[35m"
#define FRAME_CYAN	"\033[36m"

/* An empty frame of the terminal's size, @utf8 and @colour as it and the user want. */
void frame_begin(struct frame *f);
/*
 * One line, cut to the frame's width; beyond its last row nothing happens. Escape
 * sequences take no room; colours are left out where they are not wanted.
 */
void frame_put(struct frame *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Shows it. */
void frame_draw(struct frame *f);

#endif /* TERM_H */
