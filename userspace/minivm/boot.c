// SPDX-License-Identifier: GPL-2.0-only
/*
 * Puts a guest into memory and the first vCPU at its entry: a bzImage or an
 * unpacked kernel by the 64-bit boot protocol (Documentation/arch/x86/boot.rst),
 * or a flat image.
 *
 * Low memory as the guest finds it:
 *   0x06000  global descriptor table
 *   0x07000  boot_params, "the zero page"
 *   0x08000  command line
 *   0x0a000  page tables that map the first 4 GiB as they are
 *   0xf0000  MP table
 */
#include <elf.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <asm/bootparam.h>
#include "minivm.h"

#define GDT_ADDR	0x6000
#define PARAMS_ADDR	0x7000
#define CMDLINE_ADDR	0x8000
#define CMDLINE_ROOM	0x2000
#define TABLES_ADDR	0xa000
#define EBDA_ADDR	0x9fc00		/* end of conventional memory */
#define BIOS_ADDR	0xf0000
#define HIGH_ADDR	0x100000

#define E820_RAM	1
#define E820_RESERVED	2
#define SECTOR		512
#define BOOT_MAGIC	0x53726448	/* "HdrS" */
#define LOADER_UNKNOWN	0xff
#define ENTRY_64	0x200

#define CR0_PE		(1 << 0)
#define CR0_ET		(1 << 4)
#define CR0_PG		(1u << 31)
#define CR4_PAE		(1 << 5)
#define EFER_LME	(1 << 8)
#define EFER_LMA	(1 << 10)
#define MSR_MTRR_DEF_TYPE	0x2ff
#define MTRR_ENABLED_WRITEBACK	(1 << 11 | 6)
#define APIC_LVT_LINT0	0x350
#define APIC_LVT_LINT1	0x360
#define APIC_MODE_NMI	0x400
#define APIC_MODE_EXTINT 0x700

static uint8_t *map_file(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *p;

	if (fd < 0 || fstat(fd, &st))
		err(1, "cannot open %s", path);
	if (!st.st_size)
		errx(1, "%s is empty", path);
	p = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		err(1, "cannot read %s", path);
	close(fd);
	*len = st.st_size;
	return p;
}

static void *must_gpa(struct vm *vm, uint64_t gpa, uint64_t len, const char *what)
{
	void *p = vm_gpa(vm, gpa, len);

	if (!p)
		errx(1, "%s does not fit into guest memory: give more with --memory", what);
	return p;
}

static void add_e820(struct boot_params *bp, uint64_t from, uint64_t to, uint32_t type)
{
	bp->e820_table[bp->e820_entries++] =
		(struct boot_e820_entry){ .addr = from, .size = to - from, .type = type };
}

static void build_e820(struct vm *vm, struct boot_params *bp)
{
	add_e820(bp, 0, EBDA_ADDR, E820_RAM);
	add_e820(bp, EBDA_ADDR, 0xa0000, E820_RESERVED);
	add_e820(bp, BIOS_ADDR, HIGH_ADDR, E820_RESERVED);
	add_e820(bp, HIGH_ADDR, vm->regions[0].size, E820_RAM);
	if (vm->nr_regions > 1)
		add_e820(bp, vm->regions[1].gpa, vm->regions[1].gpa + vm->regions[1].size,
			 E820_RAM);
}

/* Page tables and descriptors for 64-bit mode, paging on, addresses as they are. */
static void build_tables(struct vm *vm)
{
	uint64_t *t = must_gpa(vm, TABLES_ADDR, 6 * MINIVM_PAGE, "the page tables");
	uint64_t *gdt = must_gpa(vm, GDT_ADDR, MINIVM_PAGE, "the descriptor table");
	unsigned int i;

	t[0] = (TABLES_ADDR + MINIVM_PAGE) | 3;
	for (i = 0; i < 4; i++)
		t[512 + i] = (TABLES_ADDR + (2 + i) * MINIVM_PAGE) | 3;
	for (i = 0; i < 4 * 512; i++)
		t[1024 + i] = (uint64_t)i << 21 | 0x83;
	/* The boot protocol's selectors: 0x10 code, 0x18 data. */
	gdt[2] = 0x00af9b000000ffffULL;
	gdt[3] = 0x00cf93000000ffffULL;
}

static void set_entry(struct vcpu *v, const struct kvm_regs *regs)
{
	struct kvm_segment code = {
		.limit = ~0u, .selector = 0x10, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1,
	};
	struct kvm_segment data = {
		.limit = ~0u, .selector = 0x18, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1,
	};
	struct kvm_sregs sregs;

	if (ioctl(v->fd, KVM_GET_SREGS, &sregs))
		err(1, "KVM_GET_SREGS");
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.gdt.base = GDT_ADDR;
	sregs.gdt.limit = 4 * 8 - 1;
	sregs.cr3 = TABLES_ADDR;
	sregs.cr4 = CR4_PAE;
	sregs.cr0 = CR0_PE | CR0_ET | CR0_PG;
	sregs.efer = EFER_LME | EFER_LMA;
	if (ioctl(v->fd, KVM_SET_SREGS, &sregs) || ioctl(v->fd, KVM_SET_REGS, regs))
		err(1, "cannot set the first registers of vCPU %u", v->index);
}

/* What a BIOS leaves behind on every processor. */
static void set_platform(struct vcpu *v)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} mtrr = {
		.head.nmsrs = 1,
		.entry = { .index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLED_WRITEBACK },
	};
	struct kvm_lapic_state lapic;
	uint32_t lint0 = APIC_MODE_EXTINT, lint1 = APIC_MODE_NMI;

	if (ioctl(v->fd, KVM_SET_MSRS, &mtrr) != 1)
		err(1, "cannot set the memory types of vCPU %u", v->index);
	if (ioctl(v->fd, KVM_GET_LAPIC, &lapic))
		err(1, "KVM_GET_LAPIC");
	memcpy(lapic.regs + APIC_LVT_LINT0, &lint0, sizeof(lint0));
	memcpy(lapic.regs + APIC_LVT_LINT1, &lint1, sizeof(lint1));
	if (ioctl(v->fd, KVM_SET_LAPIC, &lapic))
		err(1, "KVM_SET_LAPIC");
}

static void put_cmdline(struct vm *vm)
{
	const char *text = vm->opt->append;

	if (strlen(text) >= CMDLINE_ROOM)
		errx(1, "--append may have at most %u characters", CMDLINE_ROOM - 1);
	memcpy(must_gpa(vm, CMDLINE_ADDR, CMDLINE_ROOM, "the command line"), text,
	       strlen(text) + 1);
}

static void load_initrd(struct vm *vm, struct boot_params *bp, uint64_t kernel_end)
{
	uint64_t top = vm->regions[0].size, limit = bp->hdr.initrd_addr_max, addr = 0;
	size_t len;
	uint8_t *p = map_file(vm->opt->initrd, &len);

	if (top > limit + 1)
		top = limit + 1;
	if (len < top)
		addr = (top - len) & ~(MINIVM_PAGE - 1);
	if (addr < kernel_end)
		errx(1, "kernel and initrd do not fit into guest memory: give more with --memory");
	memcpy(must_gpa(vm, addr, len, "the initrd"), p, len);
	munmap(p, len);
	bp->hdr.ramdisk_image = addr;
	bp->hdr.ramdisk_size = len;
}

/* Where a kernel that is in memory begins to run, and what lies behind it. */
struct placed {
	uint64_t entry;
	uint64_t end;
};

static struct placed load_bzimage(struct vm *vm, struct boot_params *bp, const uint8_t *image,
				  size_t len)
{
	const struct setup_header *h = (const struct setup_header *)(image + 0x1f1);
	uint64_t addr = HIGH_ADDR, end;
	size_t setup, header;

	if (len < 2 * SECTOR || h->header != BOOT_MAGIC)
		errx(1, "%s is neither a Linux bzImage nor an ELF kernel", vm->opt->kernel);
	if (h->version < 0x20c || !(h->xloadflags & XLF_KERNEL_64))
		errx(1, "%s has no 64-bit entry: use an x86-64 kernel from 3.8 on",
		     vm->opt->kernel);
	setup = (h->setup_sects ? h->setup_sects + 1 : 5) * SECTOR;
	/* The header ends where the jump at 0x200 leads to. */
	header = 0x202 + image[0x201] - 0x1f1;
	if (setup >= len || header > sizeof(*h))
		errx(1, "%s is cut short", vm->opt->kernel);
	if (strlen(vm->opt->append) > h->cmdline_size)
		errx(1, "--append is too long for this kernel: at most %u characters",
		     h->cmdline_size);
	memcpy(&bp->hdr, h, header);
	/* A kernel that may be anywhere is put where it wants to run. */
	if (h->relocatable_kernel && h->pref_address > addr &&
	    vm_gpa(vm, h->pref_address, h->init_size))
		addr = h->pref_address;
	end = addr + (h->init_size > len - setup ? h->init_size : len - setup);
	memcpy(must_gpa(vm, addr, end - addr, "the kernel"), image + setup, len - setup);
	bp->hdr.code32_start = addr;
	return (struct placed){ .entry = addr + ENTRY_64, .end = end };
}

/* The kernel that is packed in a bzImage, unpacked: it enters at once. */
static struct placed load_elf(struct vm *vm, struct boot_params *bp, const uint8_t *image,
			      size_t len)
{
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)image;
	const Elf64_Phdr *ph = (const Elf64_Phdr *)(image + eh->e_phoff);
	struct placed placed = { .entry = eh->e_entry };
	unsigned int i;

	if (len < sizeof(*eh) || eh->e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh->e_machine != EM_X86_64 || eh->e_phoff > len ||
	    eh->e_phnum > (len - eh->e_phoff) / sizeof(*ph))
		errx(1, "%s is no kernel for x86-64", vm->opt->kernel);
	for (i = 0; i < eh->e_phnum; i++) {
		if (ph[i].p_type != PT_LOAD)
			continue;
		if (ph[i].p_paddr < HIGH_ADDR || ph[i].p_filesz > ph[i].p_memsz ||
		    ph[i].p_offset > len || ph[i].p_filesz > len - ph[i].p_offset)
			errx(1, "%s is cut short", vm->opt->kernel);
		memcpy(must_gpa(vm, ph[i].p_paddr, ph[i].p_memsz, "the kernel"),
		       image + ph[i].p_offset, ph[i].p_filesz);
		if (ph[i].p_paddr + ph[i].p_memsz > placed.end)
			placed.end = ph[i].p_paddr + ph[i].p_memsz;
	}
	bp->hdr.boot_flag = 0xaa55;
	bp->hdr.header = BOOT_MAGIC;
	bp->hdr.version = 0x20f;
	bp->hdr.initrd_addr_max = INT32_MAX;
	return placed;
}

void boot_linux(struct vm *vm)
{
	size_t len;
	uint8_t *image = map_file(vm->opt->kernel, &len);
	struct boot_params *bp = must_gpa(vm, PARAMS_ADDR, sizeof(*bp), "the boot parameters");
	struct placed kernel;
	unsigned int i;

	memset(bp, 0, sizeof(*bp));
	if (len > SELFMAG && !memcmp(image, ELFMAG, SELFMAG))
		kernel = load_elf(vm, bp, image, len);
	else
		kernel = load_bzimage(vm, bp, image, len);
	munmap(image, len);
	bp->hdr.type_of_loader = LOADER_UNKNOWN;
	bp->hdr.cmd_line_ptr = CMDLINE_ADDR;
	put_cmdline(vm);
	if (vm->opt->initrd)
		load_initrd(vm, bp, kernel.end);
	build_e820(vm, bp);
	build_tables(vm);
	mptable_build(vm);
	for (i = 0; i < vm->nr_vcpus; i++)
		set_platform(&vm->vcpus[i]);
	/* The others wait for the first one to start them. */
	set_entry(&vm->vcpus[0], &(struct kvm_regs){ .rip = kernel.entry, .rflags = 2,
						     .rsi = PARAMS_ADDR });
}

/*
 * A flat image is put at 1 MiB, and all vCPUs enter at its first byte in 64-bit
 * mode at once: rdi is the vCPU's number, rsi how many there are, rdx the size
 * of low memory in bytes, rcx where the text of --append lies. There is no stack.
 */
void boot_flat(struct vm *vm)
{
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	size_t len;
	uint8_t *image = map_file(vm->opt->flat, &len);
	unsigned int i;

	memcpy(must_gpa(vm, HIGH_ADDR, len, "the flat image"), image, len);
	munmap(image, len);
	put_cmdline(vm);
	build_tables(vm);
	for (i = 0; i < vm->nr_vcpus; i++) {
		struct kvm_regs regs = {
			.rip = HIGH_ADDR, .rflags = 2, .rdi = i, .rsi = vm->nr_vcpus,
			.rdx = vm->regions[0].size, .rcx = CMDLINE_ADDR,
		};

		set_platform(&vm->vcpus[i]);
		set_entry(&vm->vcpus[i], &regs);
		if (ioctl(vm->vcpus[i].fd, KVM_SET_MP_STATE, &runnable))
			err(1, "cannot start vCPU %u", i);
	}
}
