/* SPDX-License-Identifier: ISC */
/*
 * The pager.  Its threads:
 *
 *	main	   supervises the program (../common/supervise.h), shows progress
 *	reader	   reads userfaultfd messages of all processes; hands faults on, checks events; waits for nobody
 *	handlers   serve faults
 *	servers	   carry address-space calls; one for each call that is under way
 *	evictor	   writes pages to a file while there are more than the limit allows
 *
 *	process	   struct process: one address space of the program, from its exec or fork to its end
 *	worker	   struct worker: what one thread of the pager needs
 *	engine	   struct engine: what keeps entries and pages: the library, or one of the peers
 *	page	   an even number: what is entered, copied and written out (pages.c)
 */
#ifndef PAGER_PAGER_H
#define PAGER_PAGER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cleave/section.h>

#include "../common/supervise.h"
#include "../common/trap.h"
#include "layout.h"

#define PAGE_SHIFT 12u
#define MAP_MIN PAGE
#define MAP_MAX UINT64_C(0x7ffffffff000)

/* ---- Counters ---- */

enum fault_kind {
	FAULT_FILL,    /* an empty page got zeros */
	FAULT_COPY,    /* a write to a page that is shared since a fork */
	FAULT_UPGRADE, /* a write to a page that was entered for reading, or shared once */
	FAULT_REFAULT, /* the page came from the file */
	FAULT_READ,    /* a page that was there, for reading */
	FAULT_KINDS
};

#define FAULT_KIND_NAMES                                              \
	{                                                             \
		"fill", "copy on write", "upgrade", "refault", "read" \
	}

/* One thread's; added up for reports.  [t/a] */
struct counters {
	_Atomic uint64_t faults[FAULT_KINDS];
	_Atomic uint64_t retries;     /* the kernel was changing the address space (EAGAIN) */
	_Atomic uint64_t stale;	      /* what the message spoke of had gone */
	_Atomic uint64_t lost;	      /* dropped by the program while it was being entered: zeros again */
	_Atomic uint64_t evicted;     /* pages written to the file */
	_Atomic uint64_t clean;	      /* evicted without writing */
	_Atomic uint64_t nanoseconds; /* of handlers, on faults */
};

/* ---- Processes ---- */

#define PROCESSES 1024u
#define CHANGES 64u

enum process_state { PROCESS_FREE, PROCESS_OPENING, PROCESS_READY, PROCESS_DEAD };

struct engine_space; /* the engine's */

struct process {
	_Atomic uint32_t state;
	_Atomic uint32_t users; /* whoever handles one of its faults or calls */
	uint32_t number;	/* [I] its place in the table, and in the high bits how often that was taken */
	pid_t pid;
	int uffd;
	int pidfd;
	int pagemap;
	struct engine_space *space;
	_Atomic uint64_t fork_epoch; /* pages entered before may be shared with another process */
	uint64_t family;	     /* [I] processes that come from one image by forks */
	uint64_t heap_start;
	uint64_t heap_end;  /* the break, page-aligned; changed in a transaction on heap_start's page */
	uint64_t stack_low; /* [I] [stack_low, stack_top) is the main stack's, not paged */
	uint64_t stack_top;
	uint64_t top;		/* [I] free space is chosen below */
	struct process *child;	/* being forked: gets the userfaultfd that the event brings */
	uint64_t cursor;	/* evictor */
	_Atomic uint64_t total; /* faults, as the kernel counts them: of all kinds, ours among them */

	pthread_mutex_t helper_lock; /* one command at a time */
	struct pager_slot *helper;   /* [helper_lock] NULL: none yet */

	pthread_mutex_t changes_lock; /* held for some instructions */
	struct slot_range
		changes[CHANGES]; /* [changes_lock] what transactions hold while calls are made; size 0: none */
};

/* ---- Workers ---- */

struct frame;

struct worker {
	CLEAVE_SECTION_THREAD section;
	void *engine; /* the engine's record of this thread */
	struct counters counters;
	struct process *process;	 /* whose fault or call it is */
	bool missing;			 /* the fault: nothing was mapped */
	enum fault_kind kind;		 /* what the fault turned out to be */
	unsigned char *buffer;		 /* a page */
	uint64_t buffered;		 /* the number of the frame whose content is in it; 0 */
	struct frame *batch[PAGER_LIST]; /* pages that are being written out */
	unsigned int nbatch;
	unsigned int nwritten; /* of these, already asked for */
	uint64_t batch_token[PAGER_LIST];
	struct pager_slot *slot;	      /* of the call that this server carries */
	long (*forks)(struct worker *worker); /* makes the fork, in the middle of the engine's */
	struct process *fork_child;
	const uint64_t *fork_argument;
	long fork_number, fork_result;
	bool evicts;
	bool discards; /* pages that the engine removes are dropped in the process */
	struct worker *next;
};

extern __thread struct worker *self;

/* ---- Engines ---- */

struct mapping {
	uint64_t start;
	uint64_t end;
	bool mapped;
	bool paged; /* private anonymous memory, registered */
	uint8_t protection;
	uint8_t inheritance; /* enum cleave_map_inheritance */
	bool grows;	     /* to be mapped: it continues what ends at its start */
};

/*
 * A change: begin -> any number of map, unmap, protect, inherit, move -> prepare -> (system calls) -> publish -> (more)
 * -> end; or abort before publish.  After publish no fault enters anything that the change took away.
 */
struct engine {
	const char *name;
	const char *help;
	int (*start)(void);
	void (*stop)(void);
	int (*worker_start)(struct worker *worker);
	void (*worker_stop)(struct worker *worker);
	int (*space_make)(struct process *process);
	void (*space_free)(struct process *process);

	void (*begin)(struct process *process, uint64_t start, uint64_t end);
	bool (*lookup)(uint64_t addr, struct mapping *mapping); /* with what is staged; a gap's end, if not mapped */
	int (*map)(const struct mapping *mapping);
	int (*unmap)(uint64_t start, uint64_t end);
	int (*protect)(uint64_t start, uint64_t end, unsigned int protection);
	int (*inherit)(uint64_t start, uint64_t end, unsigned int inheritance);
	int (*move)(uint64_t from, uint64_t size, uint64_t to); /* what is there comes along with its pages */
	int (*prepare)(void);
	void (*publish)(void);
	void (*end)(void);
	void (*abort)(void);

	/* Outside of changes. */
	uint64_t (*find)(struct process *process, uint64_t size, uint64_t align, bool below_2g); /* 0: none */
	int (*discard)(struct process *process, uint64_t start, uint64_t end);
	/* worker->forks is called with everything held, after write permission was taken from all pages. */
	int (*fork)(struct process *parent, struct process *child);
	int (*fault)(struct process *process, uint64_t addr, bool write);
	/* Write out up to n pages from process->cursor on, which moves.  Return: how many. */
	size_t (*evict)(struct process *process, size_t n);
	uint64_t (*entries)(struct process *process); /* O(n) */
	/* Nobody else uses it.  Return: violations. */
	size_t (*verify)(struct process *process);
	/* Finish what this thread has freed. */
	void (*flush)(void);
};

extern const struct engine engine_cleave, engine_mutex_tree, engine_chunked;

/* ---- The pager ---- */

struct options {
	const struct engine *engine;
	uint64_t limit; /* pages; 0: none */
	unsigned int handlers;
	unsigned int seconds;
	bool quiet;
	bool compare;
	const char *json;
	const char *svg;
	const char *swap;
	const char *agent;
	char **command;
};

struct pager {
	struct options options;
	struct supervisor supervisor;
	struct pager_shared *shared;
	const struct engine *engine;
	CLEAVE_SECTION_DOMAIN domain;
	uint64_t begun;
	struct process processes[PROCESSES];
	_Atomic uint32_t nprocesses; /* slots of the table that were ever used */
	_Atomic uint64_t resident;   /* pages in processes, each counted once */
	_Atomic uint64_t peak;
	_Atomic uint64_t metadata; /* bytes of the engine */
	_Atomic uint64_t metadata_peak;
	_Atomic uint64_t epoch; /* forks */
	_Atomic uint64_t families;
	_Atomic uint64_t entries_peak;	    /* of all maps, sampled */
	bool follows_forks;		    /* [I] the kernel lets us */
	_Atomic uint64_t events;	    /* unmap, remap, remove: as announced */
	_Atomic uint64_t events_unexpected; /* no transaction held what they change */
	_Atomic uint64_t total;		    /* faults of processes that are gone, as the kernel counts them */
	_Atomic uint64_t images, forked;
	_Atomic uint64_t calls;
	_Atomic uint64_t throttled; /* faults that waited for room */
	_Atomic uint64_t violations;
	char violation[256]; /* the first */
	atomic_flag violated;
	_Atomic bool ending;
	pthread_mutex_t workers_lock;
	struct worker *workers; /* [workers_lock] */
};

extern struct pager pager;

void violation(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* worker.c: threads, and the engine's memory, which is counted */
extern const struct cleave_memory counted_memory;
void *counted_alloc(size_t size);
void counted_free(void *memory, size_t size);
void worker_start(struct worker *worker);
void worker_stop(struct worker *worker);
void thread_spawn(void *(*f)(void *));
void threads_join(void);
static inline void count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}
static inline uint64_t get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* process.c */
struct process *process_make(void);	      /* OPENING, with a use; NULL: too many */
struct process *process_use(uint32_t number); /* NULL: it is gone */
struct process *process_at(uint32_t i);	      /* whichever has this place in the table; NULL: none */
void process_leave(struct process *process);
void process_died(struct process *process); /* freed with its last use */
void processes_bury(void);		    /* those without users; by the evictor */
void process_read_faults(struct process *process);
void change_open(struct process *process, unsigned int *place, uint64_t start, uint64_t size);
void change_close(struct process *process, unsigned int place);
bool change_covers(struct process *process, uint64_t start, uint64_t end);
/* Carried by a server: a new image, a fork's child, a helper, an end. */
long process_hello(struct pager_slot *slot);
long process_fork(struct process *process, const uint64_t *argument, long number);
void process_forked(struct pager_slot *slot);
void process_helper(struct pager_slot *slot);
void process_exits(struct pager_slot *slot);

/* target.c: commands to threads of the program */
long target_call(struct process *process, struct pager_slot *slot, long number, uint64_t a, uint64_t b, uint64_t c,
		 uint64_t d, uint64_t e, uint64_t f);
void target_answer(struct pager_slot *slot, long result);
void target_forget(struct pager_slot *slot);
/* By the helper: drop these pages.  Return: 0; -ESRCH: there is no helper (any more). */
int target_discard(struct process *process, const struct slot_range *ranges, unsigned int n);
void servers_start(void);

/* calls.c */
long call_made(struct process *process, struct pager_slot *slot);

/* uffd.c: return 0 or a negative errno value */
/* Of a fresh userfaultfd: ask for what is needed; `forks`: also to be told of forks, which takes CAP_SYS_PTRACE. */
int uffd_begin(int fd, bool forks);
int uffd_register(struct process *process, uint64_t start, uint64_t end);
int uffd_copy(struct process *process, uint64_t addr, const void *from, bool protect);
int uffd_protect(struct process *process, uint64_t start, uint64_t end, bool protect);
int uffd_wake(struct process *process, uint64_t addr);
void reader_start(void);
void reader_watch(struct process *process);	/* its userfaultfd */
void reader_watch_end(struct process *process); /* its pidfd */
void reader_wake(void);
void reader_settle(void); /* the events of calls that have returned are handled */

/* handler.c */
struct fault {
	uint32_t process;
	bool write;
	bool missing;
	uint64_t addr;
};
void handlers_start(unsigned int n);
void handlers_wake(void);
void fault_queue(const struct fault *faults, size_t n);
/* evictor.c */
void evictor_start(void);
void evictor_kick(void);
void wait_for_room(void);
bool lacks_room(void);

/* pages.c: what all engines do with pages */
uint64_t page_get(void);
void page_free(uint64_t page);
void page_copy(uint64_t from, uint64_t to);
/* Show the page at addr.  -EAGAIN: the kernel is changing the address space. */
int page_enter(struct process *process, uint64_t addr, uint64_t page, bool write);
int page_in(uint64_t token, uint64_t page);
void token_free(uint64_t token);
/* May it leave the process, where it is at addr?  If so, the address is noted for page_out(). */
bool page_may_leave(const struct process *process, uint64_t addr, uint64_t page);
bool page_may_go(uint64_t page);
uint64_t page_address(uint64_t page); /* evictor: where page_may_leave() saw it */
/* Called for all pages of a batch, then page_out() for each. */
void page_remove(uint64_t page);
int page_out(uint64_t page, uint64_t *token);

/* swap.c */
int swap_open(const char *path);
uint32_t swap_get(void); /* a place with one reference; 0: the file cannot grow */
void swap_ref(uint32_t place);
void swap_unref(uint32_t place);
int swap_read(uint32_t place, void *page);
int swap_write(uint32_t place, const void *page);
uint64_t swap_used(void);

/* heat.c */
void heat_start(void);
void heat_add(uint64_t addr, enum fault_kind kind);
bool heat_draw(const char *path);

/* report.c */
struct summary {
	double seconds;
	uint64_t faults;
	uint64_t by_kind[FAULT_KINDS];
	uint64_t retries, stale, lost, evicted, clean, nanoseconds;
	uint64_t total;
	double share; /* of all faults of the program */
	const char *engine;
	uint64_t peak, metadata, entries, calls, violations;
	int status; /* the program's, 0: success */
};
void summarize(struct summary *summary);
void report_progress(void);
void report_table(const struct summary *summary);
bool report_json(const struct summary *summary, const char *path);
void report_comparison(const struct summary *summaries, size_t n);

#endif
