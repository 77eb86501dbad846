// SPDX-License-Identifier: GPL-2.0-only
/*
 * Saves and loads what is the VM's as a whole, and keeps the stream together.
 *
 * Time goes on during a move: clock and counter are saved at one instant, the
 * stream tells how long ago that was when it was sent, and the loader adds what
 * has passed since the first byte came. Only the way over the network is lost,
 * so the two hosts' clocks need not agree.
 *
 * A stream comes from another host. Every length, count and index is checked
 * before use; what the values mean, KVM checks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include "state.h"

static const size_t fixed_size[STATE_NR_TYPES] = {
	[STATE_PIC_MASTER] = sizeof(struct kvm_irqchip),
	[STATE_PIC_SLAVE] = sizeof(struct kvm_irqchip),
	[STATE_IOAPIC] = sizeof(struct kvm_irqchip),
	[STATE_PIT] = sizeof(struct kvm_pit_state2),
	[STATE_CLOCK] = sizeof(uint64_t),
	[STATE_SERIAL] = sizeof(struct state_serial),
	[STATE_CMOS] = 1,
	[STATE_MP_STATE] = sizeof(struct kvm_mp_state),
	[STATE_REGS] = sizeof(struct kvm_regs),
	[STATE_SREGS] = sizeof(struct kvm_sregs2),
	[STATE_XCRS] = sizeof(struct kvm_xcrs),
	[STATE_DEBUGREGS] = sizeof(struct kvm_debugregs),
	[STATE_LAPIC] = sizeof(struct kvm_lapic_state),
	[STATE_EVENTS] = sizeof(struct kvm_vcpu_events),
	[STATE_TSC] = sizeof(struct state_tsc),
	/* the others are arrays: whoever loads them checks */
};

static const struct {
	enum state_type type;
	uint32_t chip;
	const char *name;
} chips[] = {
	{ STATE_PIC_MASTER, KVM_IRQCHIP_PIC_MASTER, "PIC 1" },
	{ STATE_PIC_SLAVE, KVM_IRQCHIP_PIC_SLAVE, "PIC 2" },
	{ STATE_IOAPIC, KVM_IRQCHIP_IOAPIC, "IOAPIC" },
};
#define NR_CHIPS (sizeof(chips) / sizeof(chips[0]))

static void append(struct state_buf *b, const void *data, size_t len)
{
	if (b->failed)
		return;
	if (b->room - b->len < len) {
		size_t room = (b->len + len) * 2;
		uint8_t *bigger = realloc(b->data, room);

		if (!bigger) {
			b->failed = true;
			return;
		}
		b->data = bigger;
		b->room = room;
	}
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

void state_put(struct state_buf *b, enum state_type type, unsigned int vcpu, const void *data,
	       size_t len)
{
	struct state_record_head h = { .type = type, .vcpu = vcpu, .length = len };

	append(b, &h, sizeof(h));
	append(b, data, len);
}

void state_free(struct state_buf *b)
{
	free(b->data);
	memset(b, 0, sizeof(*b));
}

static int save_devices(struct vm *vm, struct state_buf *b, struct mv_error *e)
{
	struct serial *s = &vm->serial;
	struct state_serial serial = { 0 };
	struct kvm_pit_state2 pit = { 0 };
	unsigned int i;

	for (i = 0; i < NR_CHIPS; i++) {
		struct kvm_irqchip chip = { .chip_id = chips[i].chip };

		if (ioctl(vm->fd, KVM_GET_IRQCHIP, &chip))
			return mv_fail(e, errno, "cannot save the %s", chips[i].name);
		state_put(b, chips[i].type, 0, &chip, sizeof(chip));
	}
	if (ioctl(vm->fd, KVM_GET_PIT2, &pit))
		return mv_fail(e, errno, "cannot save the PIT");
	state_put(b, STATE_PIT, 0, &pit, sizeof(pit));

	pthread_mutex_lock(&s->lock);
	serial = (struct state_serial){
		.ier = s->ier, .lcr = s->lcr, .mcr = s->mcr, .scr = s->scr, .fcr = s->fcr,
		.dll = s->dll, .dlm = s->dlm, .thr_pending = s->thr_pending, .rx_len = s->rx_len,
		.out_len = s->out_len,
	};
	memcpy(serial.rx, s->rx, s->rx_len);
	memcpy(serial.out, s->out, s->out_len);
	pthread_mutex_unlock(&s->lock);
	state_put(b, STATE_SERIAL, 0, &serial, sizeof(serial));
	state_put(b, STATE_CMOS, 0, &vm->cmos_index, 1);
	return 0;
}

int state_save(struct vm *vm, struct state_buf *b, struct mv_error *e)
{
	struct state_head head = {
		.magic = STATE_MAGIC, .version = STATE_VERSION, .nr_vcpus = vm->nr_vcpus,
	};
	struct kvm_clock_data clock = { 0 };
	unsigned int i;
	int ret;

	memset(b, 0, sizeof(*b));
	append(b, &head, sizeof(head));
	/* The clock, and next to it the counter of vCPU 0: one instant. */
	b->saved_ns = mv_now_ns();
	if (ioctl(vm->fd, KVM_GET_CLOCK, &clock))
		return mv_fail(e, errno, "cannot save the clock");
	state_put(b, STATE_CLOCK, 0, &(uint64_t){ clock.clock }, sizeof(uint64_t));
	for (i = 0; i < vm->nr_vcpus; i++) {
		ret = state_vcpu_save(&vm->vcpus[i], b, e);
		if (ret)
			return ret;
	}
	ret = save_devices(vm, b, e);
	if (ret)
		return ret;
	if (b->failed)
		return mv_fail(e, ENOMEM, "no memory for the VM's state");
	return 0;
}

void state_stamp(struct state_buf *b)
{
	struct state_head *head = (struct state_head *)b->data;

	head->age_ns = mv_now_ns() - b->saved_ns;
	head->length = b->len;
}

/* Finds the records; @r has STATE_NR_TYPES for each vCPU, the VM's are vCPU 0's. */
static int take_apart(struct vm *vm, const uint8_t *data, size_t len, struct state_record *r,
		      struct mv_error *e)
{
	const uint8_t *end = data + len, *p = data + sizeof(struct state_head);
	unsigned int i, type;

	while (p < end) {
		struct state_record_head h;
		struct state_record *slot;

		if ((size_t)(end - p) < sizeof(h))
			return mv_fail(e, EPROTO, "the VM's state ends within a record");
		memcpy(&h, p, sizeof(h));
		p += sizeof(h);
		if (h.type >= STATE_NR_TYPES || h.reserved || h.vcpu >= vm->nr_vcpus ||
		    (h.type < STATE_FIRST_VCPU && h.vcpu))
			return mv_fail(e, EPROTO, "the VM's state has an unknown record %u of vCPU %u",
				       h.type, h.vcpu);
		if (h.length > (size_t)(end - p) ||
		    (fixed_size[h.type] && h.length != fixed_size[h.type]))
			return mv_fail(e, EPROTO, "record %u of the VM's state has a wrong length %u",
				       h.type, h.length);
		slot = &r[h.vcpu * STATE_NR_TYPES + h.type];
		if (slot->data)
			return mv_fail(e, EPROTO, "the VM's state has record %u of vCPU %u twice",
				       h.type, h.vcpu);
		slot->data = p;
		slot->length = h.length;
		p += h.length;
	}
	for (i = 0; i < vm->nr_vcpus; i++)
		for (type = i ? STATE_FIRST_VCPU : 0; type < STATE_NR_TYPES; type++)
			if (!r[i * STATE_NR_TYPES + type].data)
				return mv_fail(e, EPROTO,
					       "the VM's state lacks record %u of vCPU %u", type, i);
	return 0;
}

static int load_devices(struct vm *vm, const struct state_record *r, struct mv_error *e)
{
	struct serial *s = &vm->serial;
	struct state_serial serial;
	struct kvm_pit_state2 pit;
	unsigned int i;

	for (i = 0; i < NR_CHIPS; i++) {
		struct kvm_irqchip chip;

		memcpy(&chip, r[chips[i].type].data, sizeof(chip));
		if (chip.chip_id != chips[i].chip)
			return mv_fail(e, EPROTO, "the state of the %s is another chip's",
				       chips[i].name);
		if (ioctl(vm->fd, KVM_SET_IRQCHIP, &chip))
			return mv_fail(e, errno, "KVM refuses the state of the %s", chips[i].name);
	}
	memcpy(&pit, r[STATE_PIT].data, sizeof(pit));
	if (ioctl(vm->fd, KVM_SET_PIT2, &pit))
		return mv_fail(e, errno, "KVM refuses the state of the PIT");

	memcpy(&serial, r[STATE_SERIAL].data, sizeof(serial));
	if (serial.rx_len > sizeof(s->rx) || serial.out_len >= sizeof(s->out))
		return mv_fail(e, EPROTO, "the serial port holds more than its buffers do");
	pthread_mutex_lock(&s->lock);
	s->ier = serial.ier;
	s->lcr = serial.lcr;
	s->mcr = serial.mcr;
	s->scr = serial.scr;
	s->fcr = serial.fcr;
	s->dll = serial.dll;
	s->dlm = serial.dlm;
	s->thr_pending = serial.thr_pending;
	s->rx_len = serial.rx_len;
	memcpy(s->rx, serial.rx, serial.rx_len);
	s->out_len = serial.out_len;
	memcpy(s->out, serial.out, serial.out_len);
	pthread_mutex_unlock(&s->lock);
	vm->cmos_index = *r[STATE_CMOS].data;
	return 0;
}

/*
 * The order matters: a LAPIC needs its vCPU's registers (which hold its mode),
 * the IOAPIC hands pending interrupts to the LAPICs, timers count from the
 * counter, and the clock is set last because it runs at once.
 */
static int load_all(struct vm *vm, const struct state_record *r, uint64_t then_ns, uint64_t age_ns,
		    struct mv_error *e)
{
	struct kvm_clock_data clock = { 0 };
	unsigned int i;
	int ret;

	for (i = 0; i < vm->nr_vcpus; i++) {
		ret = state_vcpu_load(&vm->vcpus[i], r + i * STATE_NR_TYPES, e);
		if (ret)
			return ret;
	}
	ret = load_devices(vm, r, e);
	if (ret)
		return ret;
	for (i = 0; i < vm->nr_vcpus; i++) {
		ret = state_tsc_load(&vm->vcpus[i], r + i * STATE_NR_TYPES,
				     age_ns + mv_now_ns() - then_ns, r, e);
		if (ret)
			return ret;
	}
	for (i = 0; i < vm->nr_vcpus; i++) {
		ret = state_vcpu_finish(&vm->vcpus[i], r + i * STATE_NR_TYPES, e);
		if (ret)
			return ret;
	}
	serial_refresh(vm);
	memcpy(&clock.clock, r[STATE_CLOCK].data, sizeof(clock.clock));
	clock.clock += age_ns + mv_now_ns() - then_ns;
	if (ioctl(vm->fd, KVM_SET_CLOCK, &clock))
		return mv_fail(e, errno, "KVM refuses the clock");
	return 0;
}

int state_load(struct vm *vm, const uint8_t *data, size_t len, uint64_t received_ns,
	       struct mv_error *e)
{
	struct state_record *r;
	struct state_head head;
	int ret;

	if (len < sizeof(head))
		return mv_fail(e, EPROTO, "the VM's state is too short");
	memcpy(&head, data, sizeof(head));
	if (head.magic != STATE_MAGIC)
		return mv_fail(e, EPROTO, "what came is not the state of a minivm");
	if (head.version != STATE_VERSION)
		return mv_fail(e, EPROTONOSUPPORT,
			       "the state has version %u, this minivm reads version %u",
			       head.version, STATE_VERSION);
	if (head.length != len)
		return mv_fail(e, EPROTO, "the VM's state is cut short");
	if (head.nr_vcpus != vm->nr_vcpus)
		return mv_fail(e, EREMCHG, "the guest has %u vCPUs, this VM has %u: give --cpus %u",
			       head.nr_vcpus, vm->nr_vcpus, head.nr_vcpus);
	/* A day: more is no clock of a guest that was just paused. */
	if (head.age_ns > 86400ULL * 1000000000)
		return mv_fail(e, EPROTO, "the VM's state says that it is older than a day");

	r = calloc((size_t)vm->nr_vcpus * STATE_NR_TYPES, sizeof(*r));
	if (!r)
		return mv_fail(e, ENOMEM, "no memory to load the VM's state");
	ret = take_apart(vm, data, len, r, e);
	if (!ret)
		ret = load_all(vm, r, received_ns, head.age_ns, e);
	free(r);
	return ret;
}
