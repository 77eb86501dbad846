// SPDX-License-Identifier: GPL-2.0
/*
 * lab:
 *
 * Checks a picture of the test guest's screen, from outside: QEMU's "screendump"
 * must show what the guest has painted up to a frame (tests/guest/screen.h).
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../guest/screen.h"

#define LARGEST	8192	/* lines, and pixels in one */

static const char usage_text[] =
"usage: screencheck FILE.ppm FRAME\n"
"\n"
"Checks that FILE, which QEMU's screendump made while the test guest's screen was\n"
"held, is exactly the picture after frame FRAME, and prints \"screencheck width=N\n"
"height=N right=N\": how many lines there are, and are right. Status: 0 if all are,\n"
"1 with a sentence about the first that is not; 2 for wrong usage.\n";

/* Five bits come out as the upper ones of eight. */
static void expect(uint8_t *rgb, uint64_t frame, unsigned int y, unsigned int width)
{
	uint64_t line = screen_line(frame, y);
	unsigned int x;

	for (x = 0; x < width; x++, rgb += 3) {
		uint16_t pixel = screen_pixel(line, x);

		rgb[0] = pixel >> 10 << 3;
		rgb[1] = (pixel >> 5 & 31) << 3;
		rgb[2] = (pixel & 31) << 3;
	}
}

/* The frame is wrong: which one painted the line? */
static void explain(const uint8_t *rgb, uint64_t frame, unsigned int y, unsigned int width)
{
	uint64_t right = screen_painter(frame, y), n;
	uint8_t *other = malloc(width * 3);
	unsigned int x;

	for (n = 1; n <= 10000 && other; n++) {
		/* Older ones first, then those that come later. */
		uint64_t at = n <= 5000 ? right - n * SCREEN_TURNS :
			      right + (n - 5000) * SCREEN_TURNS;

		if (at > right && n <= 5000)
			continue;
		expect(other, at, y, width);
		if (!memcmp(other, rgb, width * 3)) {
			warnx("line %u is that of frame %llu, and had to be that of frame %llu", y,
			      (unsigned long long)at, (unsigned long long)right);
			free(other);
			return;
		}
	}
	expect(other, right, y, width);
	for (x = 0; x < width - 1; x++)
		if (memcmp(rgb + x * 3, other + x * 3, 3))
			break;
	warnx("line %u, which frame %llu painted, is wrong from pixel %u on: %02x%02x%02x for %02x%02x%02x",
	      y, (unsigned long long)right, x, rgb[x * 3], rgb[x * 3 + 1], rgb[x * 3 + 2],
	      other[x * 3], other[x * 3 + 1], other[x * 3 + 2]);
	free(other);
}

int main(int argc, char **argv)
{
	unsigned int width, height, most, y, right = 0;
	unsigned long long frame;
	uint8_t *rgb, *want;
	char *end;
	FILE *f;

	if (argc == 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		fputs(usage_text, stdout);
		return 0;
	}
	if (argc != 3)
		errx(2, "give a picture and a frame: try --help");
	frame = strtoull(argv[2], &end, 10);
	if (end == argv[2] || *end || frame < SCREEN_TURNS - 1)
		errx(2, "\"%s\" is no frame: the first whole one is %u", argv[2], SCREEN_TURNS - 1);
	f = fopen(argv[1], "re");
	if (!f)
		err(1, "cannot open %s", argv[1]);
	if (fscanf(f, "P6 %u %u %u", &width, &height, &most) != 3 || fgetc(f) == EOF ||
	    !width || !height || width > LARGEST || height > LARGEST || most != 255)
		errx(1, "%s is no picture as QEMU's screendump makes them", argv[1]);
	rgb = malloc(width * 3);
	want = malloc(width * 3);
	if (!rgb || !want)
		errx(1, "no memory for a line");
	for (y = 0; y < height; y++) {
		if (fread(rgb, 3, width, f) != width)
			errx(1, "the picture ends at line %u of %u", y, height);
		expect(want, screen_painter(frame, y), y, width);
		if (!memcmp(rgb, want, width * 3))
			right++;
		else if (right == y)
			explain(rgb, frame, y, width);
	}
	printf("screencheck width=%u height=%u right=%u\n", width, height, right);
	return right != height;
}
