/* SPDX-License-Identifier: ISC */
/*
 * The agent (../common/trap.h): the process's address-space calls arrive as SIGSYS, and are carried inside a
 * transaction on the map each.  It uses little of the thread's stack: what is large lives in the thread's record.
 */
#ifndef MIRROR_AGENT_H
#define MIRROR_AGENT_H

#define CLEAVE_SECTION_CK
#include <cleave/map.h>
#include <cleave/section.h>

#include "../common/maps.h"
#include "../common/trap.h"
#include "layout.h"

/* Of the thread: the process's first one, for which /proc/self stands, may have ended. */
#define MAPS "/proc/thread-self/maps"
#define MAP_MIN PAGE			 /* page 0 is left to the kernel */
#define MAP_MAX UINT64_C(0x7ffffffff000) /* above: only the kernel's vsyscall page, and five-level paging on request */

/* ---- What stands behind a mapping ---- */

enum object_space {
	OBJECT_FILE,   /* a: st_dev, b: st_ino */
	OBJECT_SHOWN,  /* a: device, b: inode, as /proc/PID/maps shows them */
	OBJECT_SERIAL, /* shared anonymous memory; a: never used twice */
	OBJECT_SHM,    /* a: System V's number */
};

/*
 * Counted by the map's attribute objects.  How the kernel shows it is learned where it is first compared (a file system
 * may show another device or inode than stat does), and holds from then on.
 */
struct object {
	struct object *next; /* [l] in the bucket */
	enum object_space space;
	uint64_t a;
	uint64_t b;
	uint64_t references; /* [l] */
	uint64_t size;	     /* [I] of a System V segment, bytes */
	uint32_t learned;    /* [c] the checker's lock */
	uint64_t device;     /* [c] */
	uint64_t inode;	     /* [c] */
};

/* ---- Threads ---- */

#define RECORDS 16384u

/* A thread's, found by its number; given to another one when it ends. */
struct record {
	struct cleave_ck_thread ck __attribute__((aligned(64)));
	struct cleave_map_thread thread;
	struct cleave_map_txn txn;
	struct cleave_map_entry entries[32];
	struct maps_file maps;
};

struct record *record_get(void);
void record_put(struct record *record);

/* ---- The agent's state; of the process, and copied with it by a fork ---- */

struct agent {
	struct mirror_shared *shared;	/* [I] */
	struct mirror_process *process; /* [I] but for fork */
	struct cleave_ck ck;
	struct cleave_maps maps;
	struct cleave_map map;
	uint32_t pid;
	uint64_t heap_start;   /* [I] page-aligned */
	uint64_t heap_end;     /* [a] the break; changed in a transaction on heap_start's page */
	uint64_t stack_low;    /* [I] what is kept free for the stack to grow into */
	uint64_t stack_top;    /* [I] */
	uint64_t unsettled;    /* [a] ranges that are being read back */
	uint64_t settlements;  /* [a] */
	uint32_t naive_lock;   /* around updates and comparisons with --naive */
	uint32_t halt;	       /* [a] with --naive: begin no call */
	uint32_t under_way;    /* [a] with --naive: calls that are made, or not yet entered in the mirror */
	uint32_t checker_lock; /* one comparison at a time */
	uint32_t leader_gone;  /* [a] the first thread has ended */
	uint32_t exit_status;  /* [a] of the thread that ended last */
	uint64_t serial;       /* [a] */
};

extern struct agent agent;

/* Something the agent could not do: said once, counted always. */
void trouble(const char *what, long error);

/* ---- agent_memory.c ---- */

extern const struct cleave_memory arena;
int arena_open(void);
void arena_prefork(void);
void arena_postfork(void);

/* ---- agent_object.c ---- */

extern const struct cleave_map_ops map_ops;
/* With one reference; NULL: no memory. */
struct object *object_get(enum object_space space, uint64_t a, uint64_t b, uint64_t size);
void object_drop(struct object *object);
void objects_prefork(void);
void objects_postfork(void);

/* ---- agent_thread.c ---- */

int records_open(void);
/* In the child of a fork: only the caller's record stays, until it is put. */
void records_forked(const struct record *own);

/* ---- agent_space.c ---- */

int space_open(struct record *record);
/* The attributes of what the kernel shows.  -ENOMEM. The object's reference is the caller's to drop. */
int line_attributes(const struct line *line, struct cleave_map_attributes *attributes);
/*
 * A call has failed, perhaps half-way: abort the record's transaction, read [start, end) back from the kernel in
 * another one, and put what is there.  Ends what change_begin() has begun.
 */
void settle(struct record *record, uint64_t start, uint64_t end);
/* In the record's transaction: notice how far the stack has grown, if the range holds the space for it. */
void absorb_growth(struct record *record);
/* The mirror has nothing below gap_end, the kernel a mapping that goes on above: is it a stack that has grown? */
bool grown_into(struct record *record, uint64_t gap_end, const struct line *line);
int put_growth(struct record *record, uint64_t start, uint64_t end, const struct line *line);

/* ---- agent_check.c ---- */

int checker_start(void);
/* Compare everything once, by the calling thread. */
void check_all(struct record *record);
/* Check the map's invariants.  Only the caller and the checker are left. */
void check_map(struct record *record);

/* ---- The calls ---- */

/* Does the range touch the agent's own region? */
static inline bool touches_agent(uint64_t start, uint64_t end)
{
	return start < TRAP_BASE + TRAP_SIZE && end > TRAP_BASE;
}

static inline bool inside_map(uint64_t start, uint64_t length)
{
	return start >= MAP_MIN && start < MAP_MAX && length <= MAP_MAX - start;
}

/*
 * Begin a transaction on [start, end) for a change that is about to be made or, with --naive, has been made: then the
 * lock is taken, too.
 */
void change_begin(struct record *record, uint64_t start, uint64_t end);
/* The last step that may fail; `error` is what staging came to.  False: it has failed, and is aborted. */
bool change_prepare(struct record *record, int error);
void change_commit(struct record *record);
void change_abort(struct record *record);
/* The range that a transaction must lock so that absorb_growth() can do its work. */
void widen_to_stack(uint64_t *start, uint64_t *end);
/* Free space for `length` bytes; 0: none. */
uint64_t free_space(struct record *record, const struct cleave_map_request *request, bool below_2g);

/* agent_mmap.c, agent_range.c, agent_move.c, agent_shm.c */
long call_mmap(struct record *record, const struct call *call);
long call_munmap(struct record *record, const struct call *call);
long call_mprotect(struct record *record, const struct call *call);
long call_madvise(struct record *record, const struct call *call);
long call_brk(struct record *record, const struct call *call);
long call_mremap(struct record *record, const struct call *call);
long call_shmat(struct record *record, const struct call *call);
long call_shmdt(struct record *record, const struct call *call);
/* Whatever it does to the address space: everything is locked, and read back. */
long call_other(struct record *record, const struct call *call);

/* agent_process.c; context: the thread's saved registers and signal mask */
void process_open(void);
long call_fork(struct record *record, const struct call *call, void *context);
void call_exit(struct record *record, const struct call *call);

#endif
