// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * tlbmark-exec-helper: the program that the workload exec_args executes. Its
 * first instruction reads the counter; then it hashes all that it was given
 * and writes a struct tm_exec_report to the descriptor named by argv[0].
 *
 * No C library and no dynamic linker: nothing of theirs may run before the
 * stamp, nor fault pages in. Status 0, or 1 where the report did not get out.
 */
#include <stddef.h>
#include <stdint.h>

#include "exec_helper.h"

void tm_exec_helper_main(uint64_t *stack, uint64_t stamp_ticks) __attribute__((noreturn, used));

#if defined(__x86_64__)

__asm__(".text\n"
	".globl _start\n"
	".type _start, @function\n"
	"_start:\n"
	"	rdtscp\n"
	"	shlq $32, %rdx\n"
	"	leaq (%rdx, %rax), %rsi\n"
	"	movq %rsp, %rdi\n"
	"	xorl %ebp, %ebp\n"
	"	call tm_exec_helper_main\n");

enum { CALL_PWRITE64 = 18, CALL_EXIT_GROUP = 231 };

static long call(long number, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long result;

	__asm__ __volatile__("syscall"
			     : "=a"(result)
			     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
			     : "rcx", "r11", "memory");
	return result;
}

#elif defined(__aarch64__)

__asm__(".text\n"
	".globl _start\n"
	".type _start, %function\n"
	"_start:\n"
	"	isb\n"
	"	mrs x1, cntvct_el0\n"
	"	mov x0, sp\n"
	"	mov x29, xzr\n"
	"	mov x30, xzr\n"
	"	bl tm_exec_helper_main\n");

enum { CALL_PWRITE64 = 68, CALL_EXIT_GROUP = 94 };

static long call(long number, long a, long b, long c, long d)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;

	__asm__ __volatile__("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
}

#else
#error "tlbmark-exec-helper knows x86-64 and aarch64; add your architecture's first instructions"
#endif

/* The stack as the kernel leaves it: argc, argv, NULL, envp, NULL. */
void tm_exec_helper_main(uint64_t *stack, uint64_t stamp_ticks)
{
	uint64_t argc = stack[0];
	char **argv = (char **)(stack + 1), **envp = argv + argc + 1;
	struct tm_exec_report report;
	long fd = 0, written;

	report.stamp_ticks = stamp_ticks;
	report.stack = (uint64_t)stack;
	report.hash = tm_exec_hash(argc, argv, envp, &report.strings);
	for (const char *digit = argc ? argv[0] : ""; *digit; digit++)
		fd = 10 * fd + *digit - '0';
	written = call(CALL_PWRITE64, fd, (long)&report, sizeof(report), 0);
	for (;;)
		call(CALL_EXIT_GROUP, written != (long)sizeof(report), 0, 0, 0);
}
