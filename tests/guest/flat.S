/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest without an operating system, for "minivm --flat": up in a
 * millisecond, so that hundreds of migrations can be tried. Every vCPU writes
 * and checks pages of its own as fast as it can. What a page must hold is known
 * from registers alone (which sweep it is, and where in it), and registers
 * travel another way than memory does: page and truth cannot be stale together.
 *
 * Entry, on all vCPUs at once: rdi this vCPU's number, rsi how many there are,
 * rdx bytes of low memory, rcx the text of --append: "PAGES [PAUSE [HOT [GENTLE]]]",
 * pages for each vCPU (a power of two; default 1024), turns of an idle loop after
 * each page (default 0), how many of the pages are written in every sweep
 * (default 0: all), and PAUSE of all vCPUs but the first (default 0: the same). The
 * others of the pages are written in every eighth sweep and checked in all. In one of
 * eight versions a page is all zeroes.
 *
 * Every 2^28 ticks of the counter a vCPU prints, in decimal (less often where
 * printing takes long, so that most of the time is left for pages):
 *   FERRY-FLAT cpu=N seq=N sweep=N writes=N gap_ticks=N errors=N
 * gap_ticks is the longest time between two pages. At the first wrong word of a
 * page:
 *   FERRY-FLAT FAIL cpu=N page=N sweep=N word=N have=N want=N
 *
 * Registers that stay: r15 vCPU, r14 pages - 1, r13 base of the pages, r12
 * sweep, rbp place in the sweep, rbx errors.
 */
#define SERIAL		0x3f8
#define STACKS		0x180000	/* 4 KiB a vCPU, growing down */
#define PAGES		0x400000
#define LINE_STEP	64		/* a word of each cache line is written */
#define REPORT_SHIFT	28
#define EXIT_PORT	0xf4

	.code64
	.text
	.globl	_start
_start:
	mov	%rdi, %r15
	lea	1(%r15), %rsp
	shl	$12, %rsp
	add	$STACKS, %rsp
	sub	$64, %rsp		/* this vCPU's variables: see below */
#define V_SEQ		0(%rsp)
#define V_WRITES	8(%rsp)
#define V_GAP		16(%rsp)
#define V_LAST		24(%rsp)
#define V_NEXT		32(%rsp)
#define V_PAUSE		40(%rsp)
#define V_HOT		48(%rsp)
#define COLD_SHIFT	3
#define ZERO_MASK	7
	movq	$0, V_SEQ
	movq	$0, V_WRITES
	movq	$0, V_GAP
	xor	%ebx, %ebx

	mov	%rsi, %r8		/* vCPUs */
	mov	%rcx, %rsi
	call	number
	test	%rax, %rax
	jnz	1f
	mov	$1024, %eax
1:	lea	-1(%rax), %r14
	test	%r14, %rax		/* must be a power of two */
	jnz	bad_setup
	call	number
	mov	%rax, V_PAUSE
	call	number
	test	%rax, %rax
	jnz	1f
	lea	1(%r14), %rax
1:	mov	%rax, V_HOT
	call	number
	test	%rax, %rax
	jz	1f
	test	%r15, %r15
	jz	1f
	mov	%rax, V_PAUSE
1:
	/* All pages of all vCPUs must lie in low memory. */
	lea	1(%r14), %rax
	shl	$12, %rax
	mov	%rax, %r13
	imul	%r8, %rax
	add	$PAGES, %rax
	cmp	%rdx, %rax
	ja	bad_setup
	imul	%r15, %r13
	add	$PAGES, %r13

	call	ticks
	mov	%rax, V_LAST
	mov	%rax, V_NEXT
	xor	%r12d, %r12d		/* sweep 0: pages are zero */
sweep:
	xor	%ebp, %ebp
page:
	/* Which page: an odd factor makes each come once a sweep, out of order. */
	lea	1(%r12,%r12), %rax
	imul	$0x1e3779b1, %rax, %rax
	or	$1, %rax
	imul	%rbp, %rax
	add	%r12, %rax
	and	%r14, %rax
	mov	%rax, %r9		/* its number */
	mov	%rax, %rdi
	shl	$12, %rdi
	add	%r13, %rdi		/* its address */

	mov	%r12, %rcx
	call	value
	mov	%rax, %r10		/* what it holds */
	lea	1(%r12), %rcx
	call	value
	mov	%rax, %r11		/* what it shall hold */
	xor	%ecx, %ecx
word:
	mov	(%rdi,%rcx), %rax
	cmp	%r10, %rax
	jne	wrong
next_word:
	cmp	%r10, %r11		/* what does not change is not written */
	je	1f
	mov	%r11, (%rdi,%rcx)
1:	add	$LINE_STEP, %ecx
	cmp	$4096, %ecx
	jb	word

	cmp	%r10, %r11
	je	1f
	incq	V_WRITES
1:	mov	V_PAUSE, %rcx
	jrcxz	2f
1:	pause
	dec	%rcx
	jnz	1b
2:	call	ticks
	mov	%rax, %rcx
	sub	V_LAST, %rcx
	mov	%rax, V_LAST
	cmp	V_GAP, %rcx
	jbe	3f
	mov	%rcx, V_GAP
3:	cmp	V_NEXT, %rax
	jb	4f
	call	report
	call	ticks			/* V_LAST is when the line was begun */
	mov	%rax, %rcx
	sub	V_LAST, %rcx
	lea	(%rax,%rcx,4), %rax
	add	$1 << REPORT_SHIFT, %rax
	mov	%rax, V_NEXT
4:	inc	%rbp
	cmp	%r14, %rbp
	jbe	page
	inc	%r12
	jmp	sweep

/* A word was not what it must be: say so once a page, and go on with the next. */
wrong:
	inc	%rbx
	push	%rdi
	push	%r11
	push	%r10
	push	%rax
	push	%rcx
	call	lock
	lea	t_fail(%rip), %rsi
	call	text
	mov	%r15, %rax
	call	decimal
	lea	t_page(%rip), %rsi
	call	text
	mov	%r9, %rax
	call	decimal
	lea	t_sweep(%rip), %rsi
	call	text
	mov	%r12, %rax
	call	decimal
	lea	t_word(%rip), %rsi
	call	text
	mov	(%rsp), %rax
	call	decimal
	lea	t_have(%rip), %rsi
	call	text
	mov	8(%rsp), %rax
	call	decimal
	lea	t_want(%rip), %rsi
	call	text
	mov	16(%rsp), %rax
	call	decimal
	call	unlock
	pop	%rcx
	pop	%rax
	pop	%r10
	pop	%r11
	pop	%rdi
	/* The rest of the page is set right without a word. */
5:	mov	%r11, (%rdi,%rcx)
	add	$LINE_STEP, %ecx
	cmp	$4096, %ecx
	jb	5b
	sub	$LINE_STEP, %ecx
	jmp	next_word

/* The caller's variables are one return address further up. */
report:
	call	lock
	incq	8 + V_SEQ
	lea	t_cpu(%rip), %rsi
	call	text
	mov	%r15, %rax
	call	decimal
	lea	t_seq(%rip), %rsi
	call	text
	mov	8 + V_SEQ, %rax
	call	decimal
	lea	t_sweep(%rip), %rsi
	call	text
	mov	%r12, %rax
	call	decimal
	lea	t_writes(%rip), %rsi
	call	text
	mov	8 + V_WRITES, %rax
	call	decimal
	lea	t_gap(%rip), %rsi
	call	text
	mov	8 + V_GAP, %rax
	call	decimal
	lea	t_errors(%rip), %rsi
	call	text
	mov	%rbx, %rax
	call	decimal
	call	unlock
	ret

/* rax: what page r9 of this vCPU holds after rcx sweeps; 0 after none. */
value:
	cmp	8 + V_HOT, %r9
	jb	1f
	add	$(1 << COLD_SHIFT) - 1, %rcx
	shr	$COLD_SHIFT, %rcx
1:	xor	%eax, %eax
	jrcxz	1f
	lea	(%rcx,%r9), %r8
	test	$ZERO_MASK, %r8d
	jz	1f
	mov	%rcx, %rax
	shl	$20, %rax
	xor	%r9, %rax
	shl	$6, %rax
	xor	%r15, %rax
	or	$1, %rax
1:	ret

ticks:
	rdtsc
	shl	$32, %rdx
	or	%rdx, %rax
	ret

/* rax: the decimal number at rsi, 0 if there is none; rsi: behind it and blanks. */
number:
	xor	%eax, %eax
1:	movzbl	(%rsi), %ecx
	sub	$'0', %ecx
	cmp	$9, %ecx
	ja	2f
	imul	$10, %rax, %rax
	add	%rcx, %rax
	inc	%rsi
	jmp	1b
2:	cmpb	$' ', (%rsi)
	jne	3f
	inc	%rsi
	jmp	2b
3:	ret

/*
 * A line is put together in this vCPU's part of the buffers (rdi walks through
 * it) and goes out with one string instruction when the lock is given back.
 */
lock:
1:	lock btsl $0, the_lock(%rip)
	jnc	2f
	pause
	jmp	1b
2:	lea	line(%rip), %rdi
	ret

unlock:
	movb	$'\n', (%rdi)
	lea	line(%rip), %rsi
	lea	1(%rdi), %rcx
	sub	%rsi, %rcx
	mov	$SERIAL, %edx
	cld
	rep outsb
	movl	$0, the_lock(%rip)
	ret

/* Appends the text at rsi. */
text:
	lodsb
	test	%al, %al
	jz	1f
	stosb
	jmp	text
1:	ret

/* Appends rax in decimal. */
decimal:
	xor	%r8d, %r8d
	mov	$10, %ecx
1:	xor	%edx, %edx
	div	%rcx
	add	$'0', %edx
	push	%rdx
	inc	%r8d
	test	%rax, %rax
	jnz	1b
2:	pop	%rax
	stosb
	dec	%r8d
	jnz	2b
	ret

bad_setup:
	call	lock
	lea	t_setup(%rip), %rsi
	call	text
	call	unlock
	mov	$EXIT_PORT, %edx
	out	%al, %dx
1:	hlt
	jmp	1b

t_cpu:		.asciz	"FERRY-FLAT cpu="
t_seq:		.asciz	" seq="
t_sweep:	.asciz	" sweep="
t_writes:	.asciz	" writes="
t_gap:		.asciz	" gap_ticks="
t_errors:	.asciz	" errors="
t_fail:		.asciz	"FERRY-FLAT FAIL cpu="
t_page:		.asciz	" page="
t_word:		.asciz	" word="
t_have:		.asciz	" have="
t_want:		.asciz	" want="
t_setup:	.asciz	"FERRY-FLAT FAIL setup: PAGES must be a power of two and fit into memory"

	.balign	64
the_lock:	.long	0
	.balign	4096
line:		.skip	4096
