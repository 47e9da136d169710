/* SPDX-License-Identifier: ISC */
/* System V shared memory. */
#include "agent.h"

#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#define TRIES 64

struct attach {
	const struct call *call;
	struct cleave_map_request request;
	bool replace;
};

static int stage_attach(struct record *record, const struct attach *attach)
{
	const struct cleave_map_request *request = &attach->request;
	int error = 0;

	if (attach->replace)
		error = cleave_map_txn_unmap(&record->txn, request->addr, request->addr + request->size,
					     CLEAVE_MAP_REMOVE_HOLES);
	return error ? error : cleave_map_txn_map(&record->txn, request);
}

/* Return: -EEXIST: it is not free there. */
static long attach_at(struct record *record, const struct attach *attach)
{
	struct call call = *attach->call;
	uint64_t start = attach->request.addr, end = start + attach->request.size;
	long result;

	widen_to_stack(&start, &end);
	change_begin(record, start, end);
	absorb_growth(record);
	if (!change_prepare(record, stage_attach(record, attach)))
		return -EEXIST;
	call.argument[1] = attach->request.addr;
	result = do_call(&call);
	if (result == (long)attach->request.addr)
		change_commit(record);
	else if (attach->replace)
		settle(record, start, end);
	else
		change_abort(record);
	return result;
}

static long attach_naively(struct record *record, struct attach *attach)
{
	long result = do_call(attach->call);

	if (is_error(result))
		return result;
	attach->request.addr = (uint64_t)result;
	attach->replace = true;
	change_begin(record, attach->request.addr, attach->request.addr + attach->request.size);
	(void)stage_attach(record, attach);
	change_commit(record);
	return result;
}

long call_shmat(struct record *record, const struct call *call)
{
	uint64_t addr = call->argument[1], flags = call->argument[2], size;
	struct attach attach = { .call = call, .replace = flags & SHM_REMAP };
	struct shmid_ds segment;
	struct object *object;
	long result = -ENOMEM;

	if (flags & SHM_RND)
		addr = page_down(addr);
	if (sys3(SYS_shmctl, (int)call->argument[0], IPC_STAT, &segment) || (addr & (PAGE - 1)))
		return do_call(call); /* fails there as well */
	size = page_up(segment.shm_segsz);
	if (addr && (!inside_map(addr, size) || touches_agent(addr, addr + size)))
		return -EINVAL;
	object = object_get(OBJECT_SHM, (uint32_t)call->argument[0], 0, size);
	if (!object)
		return -ENOMEM;
	attach.request = (struct cleave_map_request){
		.addr = addr,
		.size = size,
		.object = object,
		.flags = CLEAVE_MAP_FIXED,
		.protection = (uint8_t)(CLEAVE_PROT_READ | (flags & SHM_RDONLY ? 0 : CLEAVE_PROT_WRITE) |
					(flags & SHM_EXEC ? CLEAVE_PROT_EXEC : 0)),
		.max_protection = CLEAVE_PROT_ALL,
		.inheritance = CLEAVE_INHERIT_SHARE,
	};
	if (agent.shared->naive) {
		result = attach_naively(record, &attach);
	} else if (addr) {
		result = attach_at(record, &attach);
		if (result == -EEXIST)
			result = do_call(call); /* occupied: the kernel refuses it, too */
	} else {
		struct cleave_map_request anywhere = { .size = size, .max_protection = CLEAVE_PROT_ALL };

		result = -EEXIST;
		for (unsigned int i = 0; i < TRIES && result == -EEXIST; i++) {
			attach.request.addr = free_space(record, &anywhere, false);
			result = attach.request.addr ? attach_at(record, &attach) : -ENOMEM;
		}
		if (result == -EEXIST)
			result = -ENOMEM;
	}
	object_drop(object);
	return result;
}

/* Linux unmaps whatever the attachment at addr has left, and nothing else. */
static int stage_detach(struct record *record, uint64_t start, uint64_t end, const struct object *object)
{
	struct cleave_map_entry entry;
	uint64_t next;
	int error = 0;

	for (uint64_t at = start; !error && at < end; at = next) {
		if (!cleave_map_txn_lookup(&record->txn, at, &entry)) {
			next = entry.attributes.flags & CLEAVE_MAP_HOLE ? entry.end : entry.start + entry.fspace;
			continue;
		}
		next = entry.end < end ? entry.end : end;
		if (entry.attributes.object == object && entry.attributes.delta == (uint64_t)0 - start)
			error = cleave_map_txn_unmap(&record->txn, at, next, 0);
	}
	return error;
}

static uint64_t segment_size(struct record *record, uint64_t addr)
{
	struct cleave_map_entry entry;
	const struct object *object;
	uint64_t size = 0;

	cleave_section_enter(&record->ck);
	if (cleave_map_lookup_rcu(&agent.map, addr, &entry)) {
		object = entry.attributes.object;
		if (object && object->space == OBJECT_SHM)
			size = object->size;
	}
	cleave_section_leave(&record->ck);
	return size;
}

long call_shmdt(struct record *record, const struct call *call)
{
	uint64_t addr = call->argument[0], size = segment_size(record, addr);
	struct cleave_map_entry entry;
	long result = 0;

	if (!size || (addr & (PAGE - 1)))
		return do_call(call);
	if (agent.shared->naive)
		result = do_call(call);
	if (result)
		return result;
	change_begin(record, addr, addr + size);
	(void)cleave_map_txn_lookup(&record->txn, addr, &entry);
	if (!change_prepare(record, stage_detach(record, addr, addr + size, entry.attributes.object)))
		return -ENOMEM;
	if (!agent.shared->naive)
		result = do_call(call);
	if (result)
		change_abort(record);
	else
		change_commit(record);
	return result;
}
