// SPDX-License-Identifier: Apache-2.0
/*
 * Assembly as libraries have it: without call frame information, as OpenBLAS's kernels, and with the frame address behind an array
 * whose length is in a register, as OpenSSL's Montgomery multiplication; or with such information that says nothing of what it does,
 * as OpenSSL's AES-XTS. main runs each function in turn, for ever.
 */
#include <stdio.h>

#ifndef ROUNDS
#define ROUNDS 20001
#endif

#define FUNCTION(name) ".globl " name "; .type " name ", @function; " name ":\n"
#define END(name)      ".size " name ", .-" name "\n"

__asm__(".text\n"
	FUNCTION("bare_leaf")
	"	mov	%rdi, %rax\n"
	"1:	imul	$3, %rax, %rax\n"
	"	dec	%rdi\n"
	"	jnz	1b\n"
	"	ret\n"
	END("bare_leaf")
	/* the frame pointer is one more register; what is saved is restored by moves */
	FUNCTION("bare_moves")
	"	sub	$0x40, %rsp\n"
	"	mov	%rbx, (%rsp)\n"
	"	mov	%rbp, 8(%rsp)\n"
	"	xor	%ebp, %ebp\n"
	"	mov	%rdi, %rbx\n"
	"1:	add	%rbx, %rbp\n"
	"	imul	$5, %rbp, %rbp\n"
	"	dec	%rbx\n"
	"	jnz	1b\n"
	"	mov	%rbp, %rax\n"
	"	mov	(%rsp), %rbx\n"
	"	mov	8(%rsp), %rbp\n"
	"	add	$0x40, %rsp\n"
	"	ret\n"
	END("bare_moves")
	/* pushes, and an aligned buffer: the stack pointer is kept in rbx */
	FUNCTION("bare_aligned")
	"	push	%rbp\n"
	"	push	%rbx\n"
	"	push	%r12\n"
	"	mov	%rsp, %rbx\n"
	"	sub	$0x1000, %rsp\n"
	"	and	$-0x400, %rsp\n"
	"	mov	%rdi, %rbp\n"
	"	test	$1, %dil\n"
	"	jz	2f\n"
	"1:	mov	%rbp, (%rsp)\n"
	"	addsd	%xmm3, %xmm3\n"
	"	imul	(%rsp), %rbp\n"
	"	dec	%rdi\n"
	"	jnz	1b\n"
	"2:	mov	%rbp, %rax\n"
	"	mov	%rbx, %rsp\n"
	"	pop	%r12\n"
	"	pop	%rbx\n"
	"	pop	%rbp\n"
	"	ret\n"
	END("bare_aligned")
	/* crypto/bn/asm/x86_64-mont.pl: CFA = *(rsp + 8 + 8 * r9) + 8 */
	FUNCTION("indexed")
	"	.cfi_startproc\n"
	"	mov	%rsp, %rax\n"
	"	.cfi_def_cfa_register %rax\n"
	"	mov	$9, %r9d\n"
	"	lea	-0x58(%rsp), %rsp\n"
	"	and	$-0x400, %rsp\n"
	"	mov	%rax, 8(%rsp, %r9, 8)\n"
	"	.cfi_escape 0x0f, 0x0a, 0x77, 0x08, 0x79, 0, 0x38, 0x1e, 0x22, 0x06, 0x23, 0x08\n"
	"1:	imul	$7, %rax, %rax\n"
	"	dec	%rdi\n"
	"	jnz	1b\n"
	"	mov	8(%rsp, %r9, 8), %rsi\n"
	"	.cfi_def_cfa %rsi, 8\n"
	"	lea	(%rsi), %rsp\n"
	"	.cfi_def_cfa_register %rsp\n"
	"	ret\n"
	"	.cfi_endproc\n"
	END("indexed")
	/* crypto/aes/asm/aesni-xts-avx512.pl: nothing is said of the push, rbx is saved in an aligned buffer; and it is large */
	FUNCTION("untold")
	"	.cfi_startproc\n"
	"	push	%rbp\n"
	"	mov	%rsp, %rbp\n"
	"	sub	$0x88, %rsp\n"
	"	and	$-0x40, %rsp\n"
	"	mov	%rbx, 0x80(%rsp)\n"
	"	mov	%rdi, %rbx\n"
	"1:	imul	$9, %rbx, %rbx\n"
	"	.rept	32\n"
	"	xor	$5, %ebx\n"
	"	.endr\n"
	"	dec	%rdi\n"
	"	jnz	1b\n"
	"	mov	%rbx, %rax\n"
	"	mov	0x80(%rsp), %rbx\n"
	"	mov	%rbp, %rsp\n"
	"	pop	%rbp\n"
	"	ret\n"
	"	.cfi_endproc\n"
	END("untold"));

long bare_leaf(long n);
long bare_moves(long n);
long bare_aligned(long n);
long indexed(long n);
long untold(long n);

int main(void)
{
	puts("ready");
	fflush(stdout);
	for (;;) {
		bare_leaf(ROUNDS);
		bare_moves(ROUNDS);
		bare_aligned(ROUNDS);
		indexed(ROUNDS);
		untold(ROUNDS / 10);
	}
}
