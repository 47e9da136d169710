/* SPDX-License-Identifier: ISC */
/*
 * userfaultfd: the ioctls, and the thread that reads all messages.  It waits for nobody, neither for guards nor for
 * memory, and evicts nothing: while an event is unread the kernel refuses to enter pages (-EAGAIN), and the program's
 * call that caused it does not return.  So everybody else may wait for calls of the program.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "pager.h"

#define MESSAGES 64u
#define PIDFD (UINT64_C(1) << 32) /* in epoll's data: a process's end; else its userfaultfd */
#define WAKE UINT64_MAX

static int epoll = -1, wake = -1;
static _Atomic uint64_t turns; /* of the reader: odd from before a read until what it read is handled */

/* ---- ioctls ---- */

int uffd_begin(int fd, bool forks)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | (forks ? UFFD_FEATURE_EVENT_FORK : 0) |
			    UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP,
	};

	return ioctl(fd, UFFDIO_API, &api) ? -errno : 0;
}

int uffd_register(struct process *process, uint64_t start, uint64_t end)
{
	struct uffdio_register range = {
		.range = { start, end - start },
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
	};

	return ioctl(process->uffd, UFFDIO_REGISTER, &range) ? -errno : 0;
}

int uffd_copy(struct process *process, uint64_t addr, const void *from, bool protect)
{
	struct uffdio_copy copy = {
		.dst = addr,
		.src = (uint64_t)(uintptr_t)from,
		.len = PAGE,
		.mode = protect ? UFFDIO_COPY_MODE_WP : 0,
	};

	return ioctl(process->uffd, UFFDIO_COPY, &copy) ? -errno : 0;
}

int uffd_protect(struct process *process, uint64_t start, uint64_t end, bool protect)
{
	struct uffdio_writeprotect range = {
		.range = { start, end - start },
		.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(process->uffd, UFFDIO_WRITEPROTECT, &range) ? -errno : 0;
}

int uffd_wake(struct process *process, uint64_t addr)
{
	struct uffdio_range range = { addr, PAGE };

	return ioctl(process->uffd, UFFDIO_WAKE, &range) ? -errno : 0;
}

/* ---- The reader ---- */

/* What the kernel announces must be what a transaction holds. */
static void expect(struct process *process, const char *what, uint64_t start, uint64_t end)
{
	count(&pager.events);
	if (change_covers(process, start, end))
		return;
	count(&pager.events_unexpected);
	violation("process %d: the kernel says %s of %llx-%llx, which no transaction holds", (int)process->pid, what,
		  (unsigned long long)start, (unsigned long long)end);
}

static void handle_event(struct process *process, const struct uffd_msg *message)
{
	struct process *child = process->child;

	switch (message->event) {
	case UFFD_EVENT_FORK:
		if (!child) {
			close((int)message->arg.fork.ufd);
			violation("process %d: a fork that was not asked for", (int)process->pid);
			break;
		}
		child->uffd = (int)message->arg.fork.ufd;
		fcntl(child->uffd, F_SETFL, O_NONBLOCK);
		reader_watch(child);
		break;
	case UFFD_EVENT_REMAP:
		expect(process, "remap", message->arg.remap.from, message->arg.remap.from + message->arg.remap.len);
		expect(process, "remap", message->arg.remap.to, message->arg.remap.to + message->arg.remap.len);
		break;
	case UFFD_EVENT_REMOVE:
		expect(process, "remove", message->arg.remove.start, message->arg.remove.end);
		break;
	case UFFD_EVENT_UNMAP:
		expect(process, "unmap", message->arg.remove.start, message->arg.remove.end);
		break;
	}
}

static void read_messages(struct process *process)
{
	struct uffd_msg messages[MESSAGES];
	struct fault faults[MESSAGES];
	size_t nfaults = 0, n;
	ssize_t size;

	atomic_fetch_add(&turns, 1);
	size = read(process->uffd, messages, sizeof(messages));
	n = size > 0 ? (size_t)size / sizeof(messages[0]) : 0;
	for (size_t i = 0; i < n; i++) {
		const struct uffd_msg *message = &messages[i];

		if (message->event != UFFD_EVENT_PAGEFAULT) {
			handle_event(process, message);
			continue;
		}
		faults[nfaults++] = (struct fault){
			.process = process->number,
			.write = message->arg.pagefault.flags & (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP),
			.missing = !(message->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP),
			.addr = page_down(message->arg.pagefault.address),
		};
	}
	atomic_fetch_add(&turns, 1);
	if (nfaults)
		fault_queue(faults, nfaults);
}

/* A call returns when its event is read, which is before it is handled. */
void reader_settle(void)
{
	uint64_t turn = turns;

	while ((turn & 1) && turns == turn)
		sched_yield();
}

static void *reader(void *nothing)
{
	struct epoll_event events[MESSAGES];
	int n;

	(void)nothing;
	while (!pager.ending) {
		n = epoll_wait(epoll, events, MESSAGES, -1);
		for (int i = 0; i < n; i++) {
			struct process *process;

			if (events[i].data.u64 == WAKE)
				continue;
			process = process_use((uint32_t)events[i].data.u64);
			if (!process)
				continue;
			if (events[i].data.u64 & PIDFD)
				process_died(process);
			else
				read_messages(process);
			process_leave(process);
		}
	}
	return NULL;
}

static void watch(int fd, uint64_t data)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = data };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		violation("epoll: %s", strerror(errno));
}

void reader_watch(struct process *process)
{
	watch(process->uffd, process->number);
}

void reader_watch_end(struct process *process)
{
	watch(process->pidfd, process->number | PIDFD);
}

void reader_start(void)
{
	epoll = epoll_create1(EPOLL_CLOEXEC);
	wake = eventfd(0, EFD_CLOEXEC);
	if (epoll < 0 || wake < 0)
		supervisor_fail(&pager.supervisor, "epoll", errno);
	watch(wake, WAKE);
	thread_spawn(reader);
}

void reader_wake(void)
{
	uint64_t one = 1;

	if (write(wake, &one, sizeof(one)) != (ssize_t)sizeof(one))
		return;
}
