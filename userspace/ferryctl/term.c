// SPDX-License-Identifier: GPL-2.0-only
/*
 * The terminal.
 */
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "term.h"

#define LINE_MAX_BYTES 4096

static volatile sig_atomic_t quit, resized, stopped;
static struct termios before;
static bool shown, has_before;
/* What term_wait() lets in, and nothing else: no signal is missed between two of them. */
static sigset_t waiting;

static void on_quit(int sig)
{
	(void)sig;
	quit = 1;
}

static void on_resize(int sig)
{
	(void)sig;
	resized = 1;
}

static void on_stop(int sig)
{
	(void)sig;
	stopped = 1;
}

static void catch(int sig, void (*handler)(int sig), sigset_t *block)
{
	struct sigaction action = { .sa_handler = handler };

	sigaction(sig, &action, NULL);
	sigaddset(block, sig);
}

void term_signals(void)
{
	static const int quits[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction was;
	sigset_t block;
	size_t i;

	sigemptyset(&block);
	for (i = 0; i < sizeof(quits) / sizeof(quits[0]); i++) {
		/* nohup means it. */
		if (!sigaction(quits[i], NULL, &was) && was.sa_handler == SIG_IGN)
			continue;
		catch(quits[i], on_quit, &block);
	}
	sigprocmask(SIG_BLOCK, &block, &waiting);
}

bool term_usable(void)
{
	const char *term = getenv("TERM");
	struct winsize win;

	return isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb") &&
	       !ioctl(STDOUT_FILENO, TIOCGWINSZ, &win) && win.ws_col >= 40 && win.ws_row >= 10;
}

static void write_all(const char *text, size_t length)
{
	ssize_t done;

	while (length) {
		done = write(STDOUT_FILENO, text, length);
		if (done < 0 && errno != EINTR && errno != EAGAIN)
			return;
		if (done > 0) {
			text += done;
			length -= done;
		}
	}
}

static void show(void)
{
	static const char enter[] = "\033[?1049h\033[?25l\033[2J";
	struct termios raw;

	has_before = !tcgetattr(STDIN_FILENO, &before);
	if (has_before) {
		raw = before;
		raw.c_lflag &= ~(ICANON | ECHO);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	write_all(enter, sizeof(enter) - 1);
	shown = true;
}

void term_leave(void)
{
	static const char leave[] = "\033[0m\033[?25h\033[?1049l";

	if (!shown)
		return;
	shown = false;
	write_all(leave, sizeof(leave) - 1);
	if (has_before)
		tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

void term_enter(void)
{
	sigset_t block;

	setlocale(LC_CTYPE, "");
	sigemptyset(&block);
	catch(SIGWINCH, on_resize, &block);
	catch(SIGTSTP, on_stop, &block);
	sigprocmask(SIG_BLOCK, &block, NULL);
	atexit(term_leave);
	fflush(stdout);
	show();
}

/* Ctrl-Z: the shell gets its screen, and gives it back. */
static void stop(void)
{
	bool was_shown = shown;

	stopped = 0;
	term_leave();
	raise(SIGSTOP);
	if (was_shown)
		show();
}

static bool key_quits(void)
{
	char keys[64];
	ssize_t got = read(STDIN_FILENO, keys, sizeof(keys));

	/* 3: Ctrl-C of a terminal that sends no signal for it. */
	return got > 0 && (memchr(keys, 'q', got) || memchr(keys, 'Q', got) || memchr(keys, 3, got));
}

enum term_event term_wait(uint64_t ns)
{
	struct timespec left = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
	struct pollfd keys = { .fd = shown && has_before ? STDIN_FILENO : -1, .events = POLLIN };
	int ret = 0;

	if (!quit && !resized && !stopped)
		ret = ppoll(&keys, 1, &left, &waiting);
	if (ret > 0 && (keys.revents & POLLIN) && key_quits())
		quit = 1;
	else if (ret > 0 && (keys.revents & (POLLHUP | POLLERR)))
		quit = 1;
	if (quit)
		return TERM_QUIT;
	if (stopped) {
		stop();
		return TERM_REDRAW;
	}
	if (resized) {
		resized = 0;
		return TERM_REDRAW;
	}
	return TERM_NOTHING;
}

void frame_begin(struct frame *f)
{
	const char *no_colour = getenv("NO_COLOR");
	struct winsize win = { .ws_col = 0 };

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &win);
	f->rows = win.ws_row ? win.ws_row : 24;
	f->columns = win.ws_col ? win.ws_col : 80;
	f->row = 0;
	f->length = 0;
	f->utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
	f->colour = !no_colour || !*no_colour;
}

static void append(struct frame *f, const char *bytes, size_t length)
{
	if (length > sizeof(f->text) - f->length)
		length = sizeof(f->text) - f->length;
	memcpy(f->text + f->length, bytes, length);
	f->length += length;
}

void frame_put(struct frame *f, const char *fmt, ...)
{
	char line[LINE_MAX_BYTES];
	unsigned int column = 0;
	const char *at, *end;
	va_list args;

	if (f->row == f->rows)
		return;
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (f->row++)
		append(f, "\r\n", 2);
	/* Before the text: behind a full line the cursor is still on its last character. */
	append(f, "\033[K", 3);
	for (at = line; *at; at = end) {
		end = at + 1;
		if (*at == '\033') {
			end += strcspn(end, "m");
			end += *end == 'm';
			/* 3x: a colour. */
			if (f->colour || at[2] != '3')
				append(f, at, end - at);
			continue;
		}
		while ((*end & 0xc0) == 0x80)
			end++;
		if (column++ < f->columns)
			append(f, at, end - at);
	}
	append(f, FRAME_PLAIN, sizeof(FRAME_PLAIN) - 1);
}

void frame_draw(struct frame *f)
{
	static const char home[] = "\033[H";

	/* What is left of a frame that had more lines. */
	if (f->row < f->rows)
		append(f, "\r\n\033[J", 5);
	write_all(home, sizeof(home) - 1);
	write_all(f->text, f->length);
}
