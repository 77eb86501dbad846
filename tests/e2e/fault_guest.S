/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A guest that checks its own memory, in 32-bit protected mode without paging.
 *
 * Hot pages, one after the other for ever: each must hold what the round before
 * wrote to it, in every word, and is written anew. What must be there follows
 * from two registers: ebx is the round, esi the next page. Pages before it hold this
 * round's words, the others the last one's. A page that is too old, too new,
 * torn or another one is found in the round that comes to it.
 * Cold pages are checked beside them (edx is the next one) and never written.
 */
#include "fault_guest.h"

	.section .rodata
	.globl	guest_code, guest_code_end
	.code32
guest_code:
hot:
	movl	%ebx, %eax
	shll	$12, %eax
	movl	%esi, %edi
	shrl	$12, %edi
	addl	%edi, %eax		/* round << 12 + page number */
	movl	%esi, %edi
	movl	$1024, %ecx
	repe scasl
	jne	unwell
	addl	$0x1000, %eax
	movl	%esi, %edi
	movl	$1024, %ecx
	rep stosl
	addl	$0x1000, %esi

	movl	%edx, %eax
	shrl	$12, %eax
	addl	$GUEST_COLD_TAG, %eax
	movl	%edx, %edi
	movl	$1024, %ecx
	repe scasl
	jne	unwell
	addl	$0x1000, %edx
	cmpl	$GUEST_COLD_END, %edx
	jb	1f
	movl	$GUEST_COLD, %edx

1:	cmpl	$GUEST_HOT_END, %esi
	jb	hot
	movl	$GUEST_HOT, %esi
	incl	%ebx
	outb	%al, $GUEST_BEAT
	jmp	hot

unwell:
	outl	%eax, $GUEST_UNWELL
	hlt
guest_code_end:

	.section .note.GNU-stack, "", @progbits
