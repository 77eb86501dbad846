// SPDX-License-Identifier: GPL-2.0-only
/*
 * The MP table (Intel MultiProcessor Specification 1.4): how a guest without
 * ACPI learns of its vCPUs, the IOAPIC and which ISA interrupt goes where. It
 * lies in the BIOS area, where guests look for it.
 */
#include <stdint.h>
#include <string.h>
#include "minivm.h"

#define MP_FLOATING	0xf0000		/* the pointer, 16 bytes */
#define MP_TABLE	0xf0010		/* what it points to */
#define LAPIC_ADDR	0xfee00000
#define IOAPIC_ADDR	0xfec00000
#define APIC_VERSION	0x14
#define ISA_BUS		0
#define NR_ISA_IRQS	16

enum { MP_PROCESSOR, MP_BUS, MP_IOAPIC, MP_IO_INT, MP_LOCAL_INT };
enum { MP_INT_VECTORED, MP_INT_NMI, MP_INT_SMI, MP_INT_EXT };

struct mp_floating {
	char signature[4];
	uint32_t table;
	uint8_t length;		/* in units of 16 bytes */
	uint8_t spec;
	uint8_t checksum;
	uint8_t features[5];
} __attribute__((packed));

struct mp_table {
	char signature[4];
	uint16_t length;
	uint8_t spec;
	uint8_t checksum;
	char oem[8];
	char product[12];
	uint32_t oem_table;
	uint16_t oem_size;
	uint16_t entries;
	uint32_t lapic;
	uint32_t reserved;
} __attribute__((packed));

struct mp_processor {
	uint8_t type, apic_id, apic_version, flags;
	uint32_t signature, features;
	uint32_t reserved[2];
} __attribute__((packed));

struct mp_bus {
	uint8_t type, id;
	char name[6];
} __attribute__((packed));

struct mp_ioapic {
	uint8_t type, id, version, flags;
	uint32_t addr;
} __attribute__((packed));

struct mp_int {
	uint8_t type, kind;
	uint16_t flags;		/* 0: as the bus has it */
	uint8_t bus, bus_irq, apic, pin;
} __attribute__((packed));

static uint8_t checksum(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	while (len--)
		sum += *p++;
	return -sum;
}

static void add(uint8_t **p, struct mp_table *t, const void *entry, size_t len)
{
	memcpy(*p, entry, len);
	*p += len;
	t->entries++;
}

void mptable_build(struct vm *vm)
{
	/* Ids of processors and the IOAPIC share one space. */
	uint8_t ioapic_id = vm->nr_vcpus;
	struct mp_floating *f = vm_gpa(vm, MP_FLOATING, sizeof(*f));
	struct mp_table *t = vm_gpa(vm, MP_TABLE, 0x1000);
	uint8_t *p = (uint8_t *)(t + 1);
	unsigned int i;

	memset(t, 0, sizeof(*t));
	memcpy(t->signature, "PCMP", 4);
	t->spec = 4;
	memcpy(t->oem, "KVMFERRY", 8);
	memcpy(t->product, "MINIVM      ", 12);
	t->lapic = LAPIC_ADDR;

	for (i = 0; i < vm->nr_vcpus; i++)
		add(&p, t, &(struct mp_processor){
			.type = MP_PROCESSOR, .apic_id = i, .apic_version = APIC_VERSION,
			.flags = i ? 1 : 3,	/* enabled, and the first one boots */
			.signature = 0x600, .features = 0x201 }, sizeof(struct mp_processor));
	add(&p, t, &(struct mp_bus){ .type = MP_BUS, .id = ISA_BUS,
				     .name = { 'I', 'S', 'A', ' ', ' ', ' ' } },
	    sizeof(struct mp_bus));
	add(&p, t, &(struct mp_ioapic){ .type = MP_IOAPIC, .id = ioapic_id,
					.version = APIC_VERSION, .flags = 1, .addr = IOAPIC_ADDR },
	    sizeof(struct mp_ioapic));
	/* KVM's default routing: ISA interrupt n is pin n. */
	for (i = 0; i < NR_ISA_IRQS; i++)
		add(&p, t, &(struct mp_int){ .type = MP_IO_INT, .kind = MP_INT_VECTORED,
					     .bus = ISA_BUS, .bus_irq = i, .apic = ioapic_id,
					     .pin = i }, sizeof(struct mp_int));
	add(&p, t, &(struct mp_int){ .type = MP_LOCAL_INT, .kind = MP_INT_EXT, .bus = ISA_BUS,
				     .apic = 0, .pin = 0 }, sizeof(struct mp_int));
	add(&p, t, &(struct mp_int){ .type = MP_LOCAL_INT, .kind = MP_INT_NMI, .bus = ISA_BUS,
				     .apic = 0xff, .pin = 1 }, sizeof(struct mp_int));
	t->length = p - (uint8_t *)t;
	t->checksum = checksum(t, t->length);

	memset(f, 0, sizeof(*f));
	memcpy(f->signature, "_MP_", 4);
	f->table = MP_TABLE;
	f->length = 1;
	f->spec = 4;
	f->checksum = checksum(f, sizeof(*f));
}
