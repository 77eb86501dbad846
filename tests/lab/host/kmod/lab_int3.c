// SPDX-License-Identifier: GPL-2.0
/*
 * Lets an emulated host survive a fault of its emulator.
 *
 * When the kernel patches its own text (static keys, tracepoints, ftrace), it
 * writes an int3 first and the rest after all processors have synchronised.
 * QEMU's TCG with several threads can translate the int3 just before it is
 * overwritten and run that translation later: the kernel finds an int3 that
 * nobody owns and dies with "Oops: int3". No real processor does that.
 *
 * So if there is no int3 any more where one was hit, drop the translation and
 * run the instruction that is there. Only for emulated hosts, never for others.
 */
#include <linux/atomic.h>
#include <linux/kdebug.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/notifier.h>
#include <asm/processor-flags.h>
#include <asm/special_insns.h>
#include <asm/text-patching.h>

static int mended;
module_param(mended, int, 0444);
MODULE_PARM_DESC(mended, "how often it was needed; once in the self-test");

#define NOP_OPCODE	0x90

/* Where the self-test's int3 is, until it vanishes under the processor. */
extern u8 lab_int3_site[];
static bool self_test;

/*
 * Flips @bits of the text at @at; none of them: any write to a page drops its
 * translations. The text is read-only, and the kernel's write_cr0() keeps it
 * so: a plain move.
 */
static void write_text(u8 *at, u8 bits)
{
	unsigned long cr0 = native_read_cr0();

	asm volatile("mov %2, %%cr0\n\t"
		     "lock xorb %1, %0\n\t"
		     "mov %3, %%cr0"
		     : "+m" (*at)
		     : "q" (bits), "r" (cr0 & ~X86_CR0_WP), "r" (cr0) : "memory");
}

static int int3_was_hit(struct notifier_block *nb, unsigned long why, void *data)
{
	struct die_args *args = data;
	u8 *at;

	if (why != DIE_INT3 || user_mode(args->regs))
		return NOTIFY_DONE;
	at = (u8 *)args->regs->ip - INT3_INSN_SIZE;
	if (self_test && at == lab_int3_site)
		write_text(at, INT3_INSN_OPCODE ^ NOP_OPCODE);
	if (READ_ONCE(*at) == INT3_INSN_OPCODE)
		return NOTIFY_DONE;
	write_text(at, 0);
	args->regs->ip = (unsigned long)at;
	mended++;
	return NOTIFY_STOP;
}

static struct notifier_block on_die = {
	.notifier_call = int3_was_hit,
	.priority = INT_MAX,
};

/* An int3 that is a nop by the time it is handled: as the emulator does it. */
static noinline void run_self_test(void)
{
	self_test = true;
	asm volatile(".globl lab_int3_site\n"
		     "lab_int3_site:\n\t"
		     "int3" : : : "memory");
	self_test = false;
}

static int __init lab_int3_init(void)
{
	int ret = register_die_notifier(&on_die);

	if (!ret)
		run_self_test();
	return ret;
}

static void __exit lab_int3_exit(void)
{
	unregister_die_notifier(&on_die);
}

module_init(lab_int3_init);
module_exit(lab_int3_exit);
MODULE_DESCRIPTION("Survive stale int3 translations of an emulator");
MODULE_LICENSE("GPL");
