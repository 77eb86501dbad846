// SPDX-License-Identifier: GPL-2.0-only
/*
 * A serial port (16550A) that is never slow: what the guest writes is out at
 * once. Output is gathered by lines, so that a console shared with other
 * programs stays readable. A line that the guest has begun when it is moved
 * travels along, so that it comes out whole on the other side.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "minivm.h"

enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

#define IER_RX		0x01
#define IER_TX		0x02
#define IER_MASK	0x0f
#define IIR_NONE	0x01
#define IIR_TX		0x02
#define IIR_RX		0x04
#define IIR_FIFO	0xc0
#define FCR_ENABLE	0x01
#define FCR_CLEAR_RX	0x02
#define LCR_DLAB	0x80
#define MCR_OUT2	0x08
#define MCR_LOOP	0x10
#define LSR_READY	0x01
#define LSR_EMPTY	0x60
#define MSR_CTS_DSR_DCD	0xb0

#define FLUSH_NS	(100 * 1000 * 1000)

void serial_init(struct vm *vm, int out_fd)
{
	struct serial *s = &vm->serial;

	pthread_mutex_init(&s->lock, NULL);
	s->out_fd = out_fd;
	s->dll = 1;
}

static void flush_locked(struct serial *s)
{
	uint32_t done = 0;

	while (done < s->out_len) {
		ssize_t n = write(s->out_fd, s->out + done, s->out_len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;	/* nobody reads the console: the guest goes on */
		done += n;
	}
	s->out_len = 0;
}

static uint8_t cause_locked(const struct serial *s)
{
	if (s->ier & IER_RX && s->rx_len)
		return IIR_RX;
	if (s->ier & IER_TX && s->thr_pending)
		return IIR_TX;
	return IIR_NONE;
}

static void update_irq_locked(struct vm *vm)
{
	struct serial *s = &vm->serial;
	bool high = cause_locked(s) != IIR_NONE;

	/* OUT2 gates the line, as on every PC. */
	high = high && s->mcr & MCR_OUT2 && !(s->mcr & MCR_LOOP);
	if (high != s->irq_high) {
		s->irq_high = high;
		vm_irq(vm, MINIVM_SERIAL_IRQ, high);
	}
}

static void transmit_locked(struct serial *s, uint8_t value)
{
	if (s->mcr & MCR_LOOP) {
		if (s->rx_len < sizeof(s->rx))
			s->rx[s->rx_len++] = value;
		return;
	}
	s->out[s->out_len++] = value;
	s->out_ns = mv_now_ns();
	if (value == '\n' || s->out_len == sizeof(s->out))
		flush_locked(s);
	s->thr_pending = true;
}

void serial_write(struct vm *vm, unsigned int reg, uint8_t value)
{
	struct serial *s = &vm->serial;

	pthread_mutex_lock(&s->lock);
	switch (reg) {
	case REG_DATA:
		if (s->lcr & LCR_DLAB)
			s->dll = value;
		else
			transmit_locked(s, value);
		break;
	case REG_IER:
		if (s->lcr & LCR_DLAB) {
			s->dlm = value;
			break;
		}
		/* Enabling the interrupt tells at once that the transmitter is empty. */
		if (value & IER_TX && !(s->ier & IER_TX))
			s->thr_pending = true;
		s->ier = value & IER_MASK;
		break;
	case REG_IIR_FCR:
		s->fcr = value;
		if (value & FCR_CLEAR_RX)
			s->rx_len = 0;
		break;
	case REG_LCR:
		s->lcr = value;
		break;
	case REG_MCR:
		s->mcr = value & 0x1f;
		break;
	case REG_SCR:
		s->scr = value;
		break;
	}
	update_irq_locked(vm);
	pthread_mutex_unlock(&s->lock);
}

static uint8_t receive_locked(struct serial *s)
{
	uint8_t value;

	if (!s->rx_len)
		return 0;
	value = s->rx[0];
	memmove(s->rx, s->rx + 1, --s->rx_len);
	return value;
}

static uint8_t modem_status_locked(const struct serial *s)
{
	if (!(s->mcr & MCR_LOOP))
		return MSR_CTS_DSR_DCD;
	/* Loop mode shows the outputs at the inputs; drivers probe with that. */
	return (s->mcr & 0x0c) << 4 | (s->mcr & 0x02) << 3 | (s->mcr & 0x01) << 5;
}

uint8_t serial_read(struct vm *vm, unsigned int reg)
{
	struct serial *s = &vm->serial;
	uint8_t value = 0;

	pthread_mutex_lock(&s->lock);
	switch (reg) {
	case REG_DATA:
		value = s->lcr & LCR_DLAB ? s->dll : receive_locked(s);
		break;
	case REG_IER:
		value = s->lcr & LCR_DLAB ? s->dlm : s->ier;
		break;
	case REG_IIR_FCR:
		value = cause_locked(s);
		/* Reading this cause is what acknowledges it. */
		if (value == IIR_TX)
			s->thr_pending = false;
		if (s->fcr & FCR_ENABLE)
			value |= IIR_FIFO;
		break;
	case REG_LCR:
		value = s->lcr;
		break;
	case REG_MCR:
		value = s->mcr;
		break;
	case REG_LSR:
		value = LSR_EMPTY | (s->rx_len ? LSR_READY : 0);
		break;
	case REG_MSR:
		value = modem_status_locked(s);
		break;
	case REG_SCR:
		value = s->scr;
		break;
	}
	update_irq_locked(vm);
	pthread_mutex_unlock(&s->lock);
	/* The main loop may have more input than there was room for. */
	if (reg == REG_DATA)
		vm_wake(vm);
	return value;
}

size_t serial_room(struct vm *vm)
{
	struct serial *s = &vm->serial;
	size_t room;

	pthread_mutex_lock(&s->lock);
	room = sizeof(s->rx) - s->rx_len;
	pthread_mutex_unlock(&s->lock);
	return room;
}

/* What does not fit is lost, as on a wire: ask serial_room() first. */
void serial_input(struct vm *vm, const void *data, size_t len)
{
	struct serial *s = &vm->serial;

	pthread_mutex_lock(&s->lock);
	if (len > sizeof(s->rx) - s->rx_len)
		len = sizeof(s->rx) - s->rx_len;
	memcpy(s->rx + s->rx_len, data, len);
	s->rx_len += len;
	update_irq_locked(vm);
	pthread_mutex_unlock(&s->lock);
}

/*
 * Shows what has no end of line yet (a prompt, perhaps) when nothing was added
 * to it for a while; with @now at once.
 */
void serial_flush(struct vm *vm, bool now)
{
	struct serial *s = &vm->serial;

	pthread_mutex_lock(&s->lock);
	if (s->out_len && (now || mv_now_ns() - s->out_ns > FLUSH_NS))
		flush_locked(s);
	pthread_mutex_unlock(&s->lock);
}

/* The guest has gone, and the line that it had begun with it. */
void serial_forget(struct vm *vm)
{
	pthread_mutex_lock(&vm->serial.lock);
	vm->serial.out_len = 0;
	pthread_mutex_unlock(&vm->serial.lock);
}

/*
 * After the state was loaded: the line has the level that it had, and the edge
 * of it travelled in the interrupt controllers.
 */
void serial_refresh(struct vm *vm)
{
	struct serial *s = &vm->serial;

	pthread_mutex_lock(&s->lock);
	s->irq_high = !(cause_locked(s) != IIR_NONE && s->mcr & MCR_OUT2 && !(s->mcr & MCR_LOOP));
	update_irq_locked(vm);
	pthread_mutex_unlock(&s->lock);
}
