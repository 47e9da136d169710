/* SPDX-License-Identifier: ISC */
/* mmap: a free choice of address is made in the mirror first, and the kernel is told to map there and nowhere else. */
#include "agent.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define DEV_ZERO (1u << 8 | 5) /* makedev(1, 5), which is a function of libc's in a build without optimization */

#define HUGE_SHIFT_DEFAULT 21u
#define HUGE_SHIFT_MASK 0x3fu
#define TRIES 64

/* What the arguments ask for. */
struct wish {
	struct cleave_map_request request;
	struct object *object;
	bool fixed;
	bool replace;
};

static uint64_t huge_page(uint64_t flags)
{
	unsigned int shift = (unsigned int)(flags >> MAP_HUGE_SHIFT) & HUGE_SHIFT_MASK;

	return UINT64_C(1) << (shift ? shift : HUGE_SHIFT_DEFAULT);
}

static bool is_shared(uint64_t flags)
{
	return (flags & MAP_TYPE) == MAP_SHARED || (flags & MAP_TYPE) == MAP_SHARED_VALIDATE;
}

/* 0; -EBADF: the kernel will say so, too; -ENOMEM. */
static int find_object(const struct call *call, struct object **object)
{
	uint64_t flags = call->argument[3];
	struct stat status;

	*object = NULL;
	if (flags & MAP_ANONYMOUS) {
		if (!is_shared(flags) && !(flags & MAP_HUGETLB))
			return 0;
		*object = object_get(OBJECT_SERIAL, COUNT(agent.serial), 0, 0);
	} else {
		if (sys3(SYS_fstat, (int)call->argument[4], &status, 0))
			return -EBADF;
		/* Each shared mapping of /dev/zero is a file of its own. */
		if (is_shared(flags) && S_ISCHR(status.st_mode) && status.st_rdev == DEV_ZERO)
			*object = object_get(OBJECT_SERIAL, COUNT(agent.serial), 0, 0);
		else
			*object = object_get(OBJECT_FILE, status.st_dev, status.st_ino, 0);
	}
	return *object ? 0 : -ENOMEM;
}

/* 0; -EINVAL: nothing that the mirror could hold: the kernel shall judge; as find_object(). */
static int understand(const struct call *call, struct wish *wish)
{
	uint64_t addr = call->argument[0], length = call->argument[1], flags = call->argument[3];
	uint64_t unit = flags & MAP_HUGETLB ? huge_page(flags) : PAGE;
	bool shared = is_shared(flags);
	int error;

	if (!length || length > MAP_MAX)
		return -EINVAL;
	length = (length + unit - 1) & ~(unit - 1);
	wish->fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
	wish->replace = wish->fixed && !(flags & MAP_FIXED_NOREPLACE);
	if (wish->fixed && ((addr & (PAGE - 1)) || !inside_map(addr, length)))
		return -EINVAL;
	error = find_object(call, &wish->object);
	if (error)
		return error;
	wish->request = (struct cleave_map_request){
		.addr = wish->fixed ? addr : page_up(addr),
		.size = length,
		.align = unit,
		.object = wish->object,
		.offset = flags & MAP_ANONYMOUS ? 0 : call->argument[5],
		.flags = CLEAVE_MAP_FIXED,
		.entry_flags = (shared ? 0 : CLEAVE_MAP_COW) | (flags & MAP_GROWSDOWN ? CLEAVE_MAP_STACK : 0),
		.protection = call->argument[2] & CLEAVE_PROT_ALL,
		.max_protection = CLEAVE_PROT_ALL,
		.inheritance = shared ? CLEAVE_INHERIT_SHARE : CLEAVE_INHERIT_COPY,
	};
	return 0;
}

static bool is_free(struct record *record, const struct cleave_map_request *request)
{
	struct cleave_map_request query = *request;

	query.flags |= CLEAVE_MAP_QUERY;
	return cleave_map_txn_map(&record->txn, &query) == 0;
}

static int stage(struct record *record, const struct wish *wish)
{
	const struct cleave_map_request *request = &wish->request;
	int error = 0;

	if (wish->replace)
		error = cleave_map_txn_unmap(&record->txn, request->addr, request->addr + request->size,
					     CLEAVE_MAP_REMOVE_HOLES);
	return error ? error : cleave_map_txn_map(&record->txn, request);
}

static long map_fixed(struct record *record, const struct call *call, const struct wish *wish)
{
	uint64_t addr = wish->request.addr, start = addr, end = addr + wish->request.size;
	long result;

	widen_to_stack(&start, &end);
	change_begin(record, start, end);
	absorb_growth(record);
	if (!wish->replace && !is_free(record, &wish->request)) {
		/* The kernel finds it occupied, too; or it is space that a stack may grow into. */
		result = do_call(call);
		if (is_error(result))
			change_abort(record);
		else
			settle(record, start, end);
		return result;
	}
	if (!change_prepare(record, stage(record, wish)))
		return -ENOMEM;
	result = do_call(call);
	if (result == (long)addr)
		change_commit(record);
	else if (wish->replace) /* what was there may be gone */
		settle(record, start, end);
	else
		change_abort(record);
	return result;
}

static uint64_t choose(struct record *record, const struct call *call, struct wish *wish, bool *hint)
{
	struct cleave_map_request anywhere = wish->request;
	uint64_t addr = wish->request.addr;

	*hint = *hint && addr && (addr & (wish->request.align - 1)) == 0 && inside_map(addr, wish->request.size) &&
		!touches_agent(addr, addr + wish->request.size) && !(call->argument[3] & MAP_32BIT);
	if (*hint)
		return addr;
	anywhere.flags = 0;
	anywhere.addr = 0;
	return free_space(record, &anywhere, call->argument[3] & MAP_32BIT);
}

static long map_anywhere(struct record *record, const struct call *call, struct wish *wish)
{
	struct call there = *call;
	bool hint = true;
	long result;

	there.argument[3] = (call->argument[3] & ~(uint64_t)MAP_32BIT) | MAP_FIXED_NOREPLACE;
	for (unsigned int i = 0; i < TRIES; i++, hint = false) {
		wish->request.addr = choose(record, call, wish, &hint);
		if (!wish->request.addr)
			return -ENOMEM;
		change_begin(record, wish->request.addr, wish->request.addr + wish->request.size);
		if (!is_free(record, &wish->request)) {
			change_abort(record);
			continue; /* somebody was faster, or the hint is occupied */
		}
		if (!change_prepare(record, stage(record, wish)))
			return -ENOMEM;
		there.argument[0] = wish->request.addr;
		result = do_call(&there);
		if (result == (long)wish->request.addr) {
			change_commit(record);
			return result;
		}
		if (result != -EEXIST) {
			change_abort(record);
			return result;
		}
		/* The kernel put something there unasked: a stack that grew. */
		settle(record, wish->request.addr, wish->request.addr + wish->request.size);
	}
	return -ENOMEM;
}

/* System call first, then the update under a lock: another thread may come between. */
static long map_naively(struct record *record, const struct call *call, struct wish *wish)
{
	long result = do_call(call);

	if (is_error(result))
		return result;
	wish->request.addr = (uint64_t)result;
	wish->replace = true;
	change_begin(record, wish->request.addr, wish->request.addr + wish->request.size);
	(void)stage(record, wish);
	change_commit(record);
	return result;
}

long call_mmap(struct record *record, const struct call *call)
{
	struct wish wish;
	long result;
	int error = understand(call, &wish);

	if (error == -EINVAL || error == -EBADF)
		return do_call(call);
	if (error)
		return error;
	if (wish.fixed && touches_agent(wish.request.addr, wish.request.addr + wish.request.size))
		result = -ENOMEM;
	else if (agent.shared->naive)
		result = map_naively(record, call, &wish);
	else if (wish.fixed)
		result = map_fixed(record, call, &wish);
	else
		result = map_anywhere(record, call, &wish);
	object_drop(wish.object);
	return result;
}
