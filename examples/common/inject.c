/* SPDX-License-Identifier: ISC */
/*
 * The image has run no instruction yet.  A few bytes at its entry are lent for system calls of ours: one that maps room
 * for the agent, one that maps the shared memory.  The agent's segments are copied, and it runs until its breakpoint.
 * Then everything is put back.
 */
#define _GNU_SOURCE
#include "inject.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "trap_layout.h"

#define PAGE UINT64_C(4096)
#define CODE_64 0x33 /* the code segment of 64-bit programs */
#define EXTENDED_STATE 16384

/* ---- The agent's file ---- */

static const Elf64_Phdr *segment(const struct agent_image *image, unsigned int i)
{
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)(const void *)image->file;

	return (const Elf64_Phdr *)(const void *)(image->file + header->e_phoff) + i;
}

static unsigned int segments(const struct agent_image *image)
{
	return ((const Elf64_Ehdr *)(const void *)image->file)->e_phnum;
}

static bool image_valid(const struct agent_image *image)
{
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)(const void *)image->file;

	if (image->size < sizeof(*header) || memcmp(header->e_ident, ELFMAG, SELFMAG) || header->e_type != ET_EXEC ||
	    header->e_machine != EM_X86_64 || header->e_phoff > image->size ||
	    (image->size - header->e_phoff) / sizeof(Elf64_Phdr) < header->e_phnum)
		return false;
	for (unsigned int i = 0; i < header->e_phnum; i++) {
		const Elf64_Phdr *part = segment(image, i);

		if (part->p_type == PT_TLS && part->p_memsz)
			return false;
		if (part->p_type == PT_LOAD &&
		    (part->p_vaddr < TRAP_BASE || part->p_memsz > TRAP_IMAGE_SIZE ||
		     part->p_vaddr - TRAP_BASE > TRAP_IMAGE_SIZE - part->p_memsz || part->p_filesz > part->p_memsz ||
		     part->p_offset > image->size || part->p_filesz > image->size - part->p_offset))
			return false;
	}
	return true;
}

int agent_image_read(struct agent_image *image, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat status;
	void *file;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &status) || status.st_size <= 0) {
		close(fd);
		return -EINVAL;
	}
	file = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (file == MAP_FAILED)
		return -errno;
	image->file = file;
	image->size = (size_t)status.st_size;
	return image_valid(image) ? 0 : -EINVAL;
}

/* ---- The stopped thread ---- */

/* Signals that came meanwhile: the new image gets them when it is ready, and has no handlers before. */
static uint64_t postponed;

static void send_postponed(pid_t thread)
{
	for (int signal = 1; signal < 64; signal++)
		if (postponed & UINT64_C(1) << signal)
			kill(thread, signal);
}

static bool run_to_trap(pid_t thread)
{
	int status;

	if (ptrace(PTRACE_CONT, thread, 0, 0))
		return false;
	for (;;) {
		if (waitpid(thread, &status, __WALL) < 0) {
			if (errno == EINTR)
				continue;
			return false;
		}
		if (!WIFSTOPPED(status))
			return false;
		if (WSTOPSIG(status) == SIGTRAP && status >> 16 == 0)
			return true;
		if (WSTOPSIG(status) == SIGSYS || WSTOPSIG(status) == SIGSEGV || WSTOPSIG(status) == SIGILL ||
		    WSTOPSIG(status) == SIGBUS)
			return false;
		if (status >> 16 == 0)
			postponed |= UINT64_C(1) << (WSTOPSIG(status) & 63);
		if (ptrace(PTRACE_CONT, thread, 0, 0))
			return false;
	}
}

static bool poke(pid_t thread, uint64_t at, const void *bytes)
{
	uint64_t word;

	memcpy(&word, bytes, sizeof(word));
	return ptrace(PTRACE_POKEDATA, thread, (void *)(uintptr_t)at, (void *)(uintptr_t)word) == 0;
}

/* Let the thread make a system call with the instruction at `at`, which a breakpoint follows. */
static long call(pid_t thread, const struct user_regs_struct *start, uint64_t at, long number, uint64_t a, uint64_t b,
		 uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	struct user_regs_struct registers = *start;

	registers.rip = at;
	registers.rax = (uint64_t)number;
	registers.orig_rax = UINT64_MAX;
	registers.rdi = a;
	registers.rsi = b;
	registers.rdx = c;
	registers.r10 = d;
	registers.r8 = e;
	registers.r9 = f;
	if (ptrace(PTRACE_SETREGS, thread, 0, &registers) || !run_to_trap(thread) ||
	    ptrace(PTRACE_GETREGS, thread, 0, &registers))
		return -ESRCH;
	return (long)registers.rax;
}

static bool copy_to(pid_t thread, uint64_t at, const void *from, size_t size)
{
	struct iovec here = { (void *)(uintptr_t)from, size }, there = { (void *)(uintptr_t)at, size };

	return process_vm_writev(thread, &here, 1, &there, 1, 0) == (ssize_t)size;
}

static int protection_of(const Elf64_Phdr *part)
{
	return (part->p_flags & PF_R ? PROT_READ : 0) | (part->p_flags & PF_W ? PROT_WRITE : 0) |
	       (part->p_flags & PF_X ? PROT_EXEC : 0);
}

static const char *load(const struct agent_image *image, pid_t thread, const struct user_regs_struct *start,
			uint64_t at)
{
	uint64_t end = TRAP_BASE;
	long result;

	for (unsigned int i = 0; i < segments(image); i++) {
		const Elf64_Phdr *part = segment(image, i);

		if (part->p_type == PT_LOAD && part->p_vaddr + part->p_memsz > end)
			end = part->p_vaddr + part->p_memsz;
	}
	end = (end + PAGE - 1) & ~(PAGE - 1);
	result = call(thread, start, at, SYS_mmap, TRAP_BASE, end - TRAP_BASE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, UINT64_MAX, 0);
	if (result != (long)TRAP_BASE)
		return "the agent's range of addresses is taken";
	for (unsigned int i = 0; i < segments(image); i++) {
		const Elf64_Phdr *part = segment(image, i);
		uint64_t from = part->p_vaddr & ~(PAGE - 1);

		if (part->p_type != PT_LOAD)
			continue;
		if (part->p_filesz && !copy_to(thread, part->p_vaddr, image->file + part->p_offset, part->p_filesz))
			return "cannot write to its memory";
		result = call(thread, start, at, SYS_mprotect, from, part->p_vaddr + part->p_memsz - from,
			      (uint64_t)protection_of(part), 0, 0, 0);
		if (result)
			return "cannot protect the agent's segments";
	}
	return NULL;
}

static const char *map_shared(pid_t thread, const struct user_regs_struct *start, uint64_t at,
			      const struct agent_image *image)
{
	/* Below what the kernel has put on the stack, and the red zone. */
	uint64_t name = (start->rsp - 512) & ~UINT64_C(15);
	long fd, result;

	if (!copy_to(thread, name, image->shared_path, strlen(image->shared_path) + 1))
		return "cannot write to its stack";
	fd = call(thread, start, at, SYS_open, name, O_RDWR | O_CLOEXEC, 0, 0, 0, 0);
	if (fd < 0)
		return "it may not open the shared memory (another user, another root directory?)";
	result = call(thread, start, at, SYS_mmap, TRAP_SHARED_AT, image->shared_size, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_FIXED_NOREPLACE, (uint64_t)fd, 0);
	(void)call(thread, start, at, SYS_close, (uint64_t)fd, 0, 0, 0, 0, 0);
	return result == (long)TRAP_SHARED_AT ? NULL : "cannot map the shared memory";
}

static const char *run_agent(const struct agent_image *image, pid_t thread, const struct user_regs_struct *start,
			     uint64_t boot_flags)
{
	static char text[96];
	struct user_regs_struct registers = *start;

	registers.rip = ((const Elf64_Ehdr *)(const void *)image->file)->e_entry;
	registers.rdi = boot_flags;
	registers.orig_rax = UINT64_MAX;
	registers.eflags = 0x202;
	if (ptrace(PTRACE_SETREGS, thread, 0, &registers) || !run_to_trap(thread) ||
	    ptrace(PTRACE_GETREGS, thread, 0, &registers)) {
		snprintf(text, sizeof(text), "the agent crashed");
		return text;
	}
	if (registers.rax == 0)
		return NULL;
	snprintf(text, sizeof(text), "the agent could not begin (agent.c:%llu)", (unsigned long long)registers.rax);
	return text;
}

const char *inject(const struct agent_image *image, pid_t thread, uint64_t boot_flags)
{
	static const unsigned char code[8] = { 0xcc, 0x0f, 0x05, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc };
	unsigned char extended[EXTENDED_STATE];
	struct iovec state = { extended, sizeof(extended) };
	struct user_regs_struct start;
	const char *problem;
	uint64_t saved;

	postponed = 0;
	if (ptrace(PTRACE_GETREGS, thread, 0, &start))
		return "cannot read its registers";
	if (start.cs != CODE_64)
		return "it is no 64-bit program";
	errno = 0;
	saved = (uint64_t)ptrace(PTRACE_PEEKDATA, thread, (void *)(uintptr_t)start.rip, 0);
	if (errno || !poke(thread, start.rip, code))
		return "cannot write to its code";
	/* First it has to come back from exec, which sets registers. */
	if (!run_to_trap(thread) || ptrace(PTRACE_GETREGS, thread, 0, &start))
		return "it did not start";
	start.rip--;
	if (ptrace(PTRACE_GETREGSET, thread, NT_X86_XSTATE, &state))
		state.iov_len = 0;

	problem = load(image, thread, &start, start.rip + 1);
	if (!problem)
		problem = map_shared(thread, &start, start.rip + 1, image);
	if (!problem)
		problem = run_agent(image, thread, &start, boot_flags);
	if (problem)
		return problem;

	start.orig_rax = UINT64_MAX;
	if (!poke(thread, start.rip, &saved) || ptrace(PTRACE_SETREGS, thread, 0, &start) ||
	    (state.iov_len && ptrace(PTRACE_SETREGSET, thread, NT_X86_XSTATE, &state)))
		return "cannot restore its registers";
	send_postponed(thread);
	return NULL;
}
