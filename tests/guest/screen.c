// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's screen, with ferry.screen=1: a thread paints frames (screen.h), twenty
 * a second unless ferry.screen.rate tells otherwise. "screen hold" on the console
 * stops after a whole frame and says "screen held frame=K"; "screen step" paints one
 * frame more, stops, and says the same; "screen go" goes on.
 *
 * The kernel is to be told vga=0x30d: 320x200 in 15 bits a pixel, or another mode of
 * 15 bits, and the VGA is told that its memory is big-endian. Of such a mode QEMU keeps
 * a picture of its own, which it paints anew where the dirty log of the VGA's memory
 * tells so, and nowhere else: a log that misses something leaves a wrong picture. In
 * other modes, and in QEMU 10.0 in a little-endian one of 15 bits, the picture may
 * be the VGA's memory itself, which is right whatever the log says.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/fb.h>
#include <linux/kd.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "guest.h"
#include "screen.h"

#define DEVICE_MS	10000	/* until there is a framebuffer */

/* QEMU's docs/specs/standard-vga: registers of BAR 2, and one that tells the byte order. */
#define VGA_BAR		"/sys/bus/pci/devices/*/resource2"
#define VGA_BAR_BYTES	4096
#define VGA_BYTE_ORDER	0x604
#define VGA_BIG_ENDIAN	0xbebebebe

static struct {
	/* of the thread */
	uint8_t *memory;
	unsigned int width, height, stride;
	uint64_t frame;			/* the last that was painted */
	uint64_t rate;
	/* of all */
	_Atomic uint64_t frames;	/* painted so far */
	/* of all who have the lock */
	bool hold;
	bool tell;			/* which frame it is that is held */
	unsigned int steps;		/* to paint while it holds */
} screen;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t told = PTHREAD_COND_INITIALIZER;

static int fb;

static void paint(uint64_t frame)
{
	unsigned int x, y;

	for (y = 0; y < screen.height; y++) {
		volatile uint16_t *line = (void *)(screen.memory + y * screen.stride);
		uint64_t of = screen_line(frame, y);

		if (!screen_paints(frame, y))
			continue;
		for (x = 0; x < screen.width; x++)
			line[x] = htobe16(screen_pixel(of, x));
	}
	/* Nothing of it waits in a buffer of the processor. */
	__builtin_ia32_sfence();
	screen.frame = frame;
	screen.frames++;
}

/* Returns when the screen is not held, or not any more. */
static void obey_hold(void)
{
	pthread_mutex_lock(&lock);
	while (screen.hold) {
		if (screen.steps) {
			screen.steps--;
			paint(screen.frame + 1);
			screen.tell = true;
		} else if (screen.tell) {
			say("screen held frame=%llu", (unsigned long long)screen.frame);
			screen.tell = false;
		} else {
			pthread_cond_wait(&told, &lock);
		}
	}
	screen.steps = 0;
	pthread_mutex_unlock(&lock);
}

static void *screen_main(void *arg)
{
	uint64_t next = now_ns(), frame, now;

	(void)arg;
	for (frame = 0; frame < SCREEN_TURNS; frame++)
		paint(frame);
	for (;;) {
		obey_hold();
		now = now_ns();
		if (now < next) {
			struct timespec rest = { .tv_nsec = next - now };

			if (rest.tv_nsec > 20000000)
				rest.tv_nsec = 20000000;
			clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, NULL);
			continue;
		}
		paint(screen.frame + 1);
		next += 1000000000 / screen.rate;
		if (next < now)
			next = now;
	}
	return NULL;
}

static bool open_fb(void *arg)
{
	(void)arg;
	fb = open("/dev/fb0", O_RDWR | O_CLOEXEC);
	return fb >= 0;
}

/* Of the device that is a VGA (class 3, subclass 0). */
static int open_bar(void)
{
	char class[16] = "", path[256];
	glob_t found;
	size_t i;
	int fd = -1, bar = -1;

	if (glob(VGA_BAR, 0, NULL, &found))
		return -1;
	for (i = 0; i < found.gl_pathc && bar < 0; i++) {
		const char *name = found.gl_pathv[i];

		snprintf(path, sizeof(path), "%.*s/class", (int)(strrchr(name, '/') - name), name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && read(fd, class, sizeof(class) - 1) > 0 && !strncmp(class, "0x0300", 6))
			bar = open(name, O_RDWR | O_CLOEXEC);
		if (fd >= 0)
			close(fd);
	}
	globfree(&found);
	return bar;
}

static void set_big_endian(void)
{
	int bar = open_bar();
	volatile uint8_t *regs = MAP_FAILED;

	if (bar >= 0)
		regs = mmap(NULL, VGA_BAR_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, bar, 0);
	if (regs == MAP_FAILED)
		die("ferry.screen: no registers of a standard VGA: %s", strerror(errno));
	*(volatile uint32_t *)(regs + VGA_BYTE_ORDER) = VGA_BIG_ENDIAN;
	if (*(volatile uint32_t *)(regs + VGA_BYTE_ORDER) != VGA_BIG_ENDIAN)
		die("ferry.screen: the VGA's byte order cannot be set");
	munmap((void *)regs, VGA_BAR_BYTES);
	close(bar);
}

void screen_start(void)
{
	struct fb_var_screeninfo var;
	struct fb_fix_screeninfo fix;
	int tty;

	if (number_param("screen", 0) != 1)
		return;
	screen.rate = number_param("screen.rate", 20);
	if (!screen.rate || screen.rate > 1000)
		die("ferry.screen.rate must be 1 to 1000 frames a second");
	if (!wait_until(open_fb, NULL, DEVICE_MS))
		die("ferry.screen: there is no /dev/fb0: add vga=0x30d");
	if (ioctl(fb, FBIOGET_VSCREENINFO, &var) || ioctl(fb, FBIOGET_FSCREENINFO, &fix))
		die("cannot ask for the screen's mode: %s", strerror(errno));
	if (var.bits_per_pixel != 16 || var.green.length != 5)
		die("ferry.screen: the mode is of %u bits, and must be of 15: add vga=0x30d",
		    var.bits_per_pixel);
	screen.memory = mmap(NULL, fix.smem_len, PROT_READ | PROT_WRITE, MAP_SHARED, fb, 0);
	if (screen.memory == MAP_FAILED)
		die("cannot map the screen: %s", strerror(errno));
	set_big_endian();
	/* The kernel shall paint nothing there, not even a cursor. */
	tty = open("/dev/tty0", O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (tty < 0 || ioctl(tty, KDSETMODE, KD_GRAPHICS))
		die("cannot take the screen from the kernel: %s", strerror(errno));
	screen.width = var.xres;
	screen.height = var.yres;
	screen.stride = fix.line_length;
	start_thread(screen_main, params.cpus - 1, "screen", 0);
}

void screen_obey(const char *what)
{
	if (!screen.memory) {
		say("there is no ferry.screen");
		return;
	}
	pthread_mutex_lock(&lock);
	if (!strcmp(what, "hold") && !screen.hold) {
		screen.hold = screen.tell = true;
	} else if (!strcmp(what, "step") && screen.hold) {
		screen.steps++;
	} else if (!strcmp(what, "go") && screen.hold) {
		screen.hold = false;
		say("screen goes");
	} else {
		say("the screen is %s: no \"screen %s\"", screen.hold ? "held" : "not held", what);
	}
	pthread_cond_signal(&told);
	pthread_mutex_unlock(&lock);
}

int screen_report(char *text, size_t size)
{
	if (!screen.memory)
		return 0;
	return snprintf(text, size, "frames=%llu ", (unsigned long long)screen.frames);
}
