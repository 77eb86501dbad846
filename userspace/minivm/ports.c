// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O ports: the serial port, the clock chip's date, the keyboard controller's
 * reset line. All else reads as ones, as on a bus where nobody answers: so PCI
 * configuration and the keyboard are found absent. The PIT, its port 0x61 and
 * the PICs are KVM's.
 */
#include <string.h>
#include <time.h>
#include "minivm.h"

#define PORT_KEYBOARD	0x64
#define KEYBOARD_RESET	0xfe
#define PORT_CMOS	0x70
#define PORT_CMOS_DATA	0x71
#define PORT_EXIT	0xf4	/* for flat guests: any write ends the VM */

enum {
	CMOS_SECONDS = 0x00, CMOS_MINUTES = 0x02, CMOS_HOURS = 0x04, CMOS_WEEKDAY = 0x06,
	CMOS_DAY = 0x07, CMOS_MONTH = 0x08, CMOS_YEAR = 0x09, CMOS_A = 0x0a, CMOS_B = 0x0b,
	CMOS_D = 0x0d,
};

static uint8_t bcd(int n)
{
	return n / 10 % 10 << 4 | n % 10;
}

static uint8_t cmos_read(uint8_t index)
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	switch (index & 0x7f) {
	case CMOS_SECONDS:
		return bcd(tm.tm_sec);
	case CMOS_MINUTES:
		return bcd(tm.tm_min);
	case CMOS_HOURS:
		return bcd(tm.tm_hour);
	case CMOS_WEEKDAY:
		return bcd(tm.tm_wday + 1);
	case CMOS_DAY:
		return bcd(tm.tm_mday);
	case CMOS_MONTH:
		return bcd(tm.tm_mon + 1);
	case CMOS_YEAR:
		return bcd(tm.tm_year);
	case CMOS_A:
		return 0x26;	/* 32 kHz divider; no update is ever in progress */
	case CMOS_B:
		return 0x02;	/* 24 hours, BCD */
	case CMOS_D:
		return 0x80;	/* the battery is good */
	default:
		return 0;
	}
}

bool port_io(struct vm *vm, uint16_t port, bool out, unsigned int size, uint8_t *data)
{
	if (!out)
		memset(data, 0xff, size);
	if (port >= MINIVM_SERIAL_PORT && port < MINIVM_SERIAL_PORT + 8) {
		if (out)
			serial_write(vm, port - MINIVM_SERIAL_PORT, *data);
		else
			*data = serial_read(vm, port - MINIVM_SERIAL_PORT);
		return true;
	}
	switch (port) {
	case PORT_CMOS:
		if (out)
			vm->cmos_index = *data;
		break;
	case PORT_CMOS_DATA:
		if (!out)
			*data = cmos_read(vm->cmos_index);
		break;
	case PORT_KEYBOARD:
		return !(out && *data == KEYBOARD_RESET);
	case PORT_EXIT:
		return !out;
	}
	return true;
}
