/* SPDX-License-Identifier: ISC */
/* The simulator's scheduler: coroutines and strategies. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define STACK_SIZE (128u * 1024)
#define MAX_STEPS 5000u
#define MAX_CHOICES 8192u
#define NOBODY SIM_THREADS

struct sim sim;

static struct {
	void *main_sp;
	void (*body)(unsigned int thread);
	enum sim_result result;
	char failure[512];
	uint32_t time;
	uint64_t returned; /* hash of the set of calls that have returned */
	/* random */
	unsigned int stay;	   /* of 256 */
	unsigned int stay_at_call; /* the same, where a call begins */
	bool at_call;
	unsigned int change[8];
	unsigned int length; /* of executions, so far */
	/* DFS */
	struct choice {
		uint32_t place; /* step, what kind, the how manieth of them */
		uint8_t taken;
		uint8_t limit;
	} choices[MAX_CHOICES];
	unsigned int nchoices;
	unsigned int at;
	uint32_t place;
	bool anew; /* a step that was taken for local is not */
	char text[4096];
	/* states explored: the key, and in the low 4 bits the least preemptions that it took */
	uint64_t *seen;
	size_t seen_size;
	size_t nseen;
} run;

/* ---- Coroutines ---- */

#if defined(__x86_64__)
void sim_switch(void **from, void *to);
__asm__(".text\n"
	".globl sim_switch\n"
	".type sim_switch, @function\n"
	"sim_switch:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size sim_switch, . - sim_switch\n");

static void thread_main(void);

static void prepare(struct thread *thread)
{
	void **sp = (void **)(void *)((char *)thread->stack + STACK_SIZE - 64);

	*--sp = NULL; /* where thread_main() would return to; leaves the stack aligned as a call does */
	*--sp = (void *)(uintptr_t)thread_main;
	for (unsigned int i = 0; i < 6; i++)
		*--sp = NULL;
	thread->sp = sp;
}
#else
#include <ucontext.h>

static void thread_main(void);

/* A stack pointer is then the address of a context. */
static ucontext_t contexts[SIM_THREADS], main_context;

static void sim_switch(void **from, void *to)
{
	ucontext_t *here = from == &run.main_sp
				   ? &main_context
				   : &contexts[(struct thread *)(void *)((char *)from - offsetof(struct thread, sp)) -
					       sim.threads];

	*from = here;
	swapcontext(here, to);
}

static void prepare(struct thread *thread)
{
	ucontext_t *context = &contexts[thread - sim.threads];

	getcontext(context);
	context->uc_stack.ss_sp = thread->stack;
	context->uc_stack.ss_size = STACK_SIZE;
	makecontext(context, thread_main, 0);
	thread->sp = context;
}
#endif

static _Noreturn void stop(enum sim_result result)
{
	void *ignored;

	run.result = result;
	sim.running = false;
#if !defined(__x86_64__)
	(void)ignored;
	setcontext(&main_context);
#else
	sim_switch(&ignored, run.main_sp);
#endif
	abort();
}

void sim_note(const char *format, ...)
{
	va_list args;

	if (!sim.trace || !sim.running)
		return;
	printf("%5u  T%u %-28s %*s", sim.steps, sim.cur, self()->call ? self()->call : "", (int)(2 * sim.cur), "");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

void sim_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(run.failure, sizeof(run.failure), format, args);
	va_end(args);
	if (!sim.running) {
		fprintf(stderr, "sim: outside of an execution: %s\n", run.failure);
		exit(2);
	}
	sim_note("FAILS: %s", run.failure);
	stop(SIM_FAILED);
}

void sim_broken(const char *rule, const struct sim_site *site)
{
	sim_fail("broken rule: %s (%s:%d)", rule, site->file, site->line);
}

const char *sim_failure(void)
{
	return run.failure;
}

unsigned int sim_self(void)
{
	return sim.cur;
}

static uint64_t next_random(void)
{
	sim.random ^= sim.random << 13;
	sim.random ^= sim.random >> 7;
	return sim.random ^= sim.random << 17;
}

/* ---- Choices of DFS ---- */

enum { WHO, WHAT }; /* kinds of choices */

/* Choices are repeated by their place, because a repeated execution has points at local steps too. */
static unsigned int repeat(uint32_t place)
{
	for (unsigned int i = 0; i < run.nchoices; i++)
		if (run.choices[i].place == place)
			return run.choices[i].taken;
	return 0;
}

static unsigned int dfs_choose(unsigned int n, unsigned int kind)
{
	uint32_t first = sim.steps << 5 | kind << 4;

	if (n <= 1)
		return 0;
	run.place = (run.place & ~15u) == first ? run.place + 1 : first;
	if (sim.options.choices)
		return repeat(run.place);
	if (run.at == run.nchoices) {
		if (run.nchoices == MAX_CHOICES)
			sim_fail("too many choices");
		run.choices[run.nchoices++] = (struct choice){ run.place, 0, (uint8_t)n };
	}
	return run.choices[run.at++].taken;
}

static void forget_states(void)
{
	free(run.seen);
	run.seen = NULL;
	run.seen_size = run.nseen = 0;
}

bool sim_next(void)
{
	if (run.anew) {
		run.anew = false;
		run.nchoices = 0;
		forget_states();
		return true;
	}
	while (run.nchoices > 0) {
		struct choice *last = &run.choices[run.nchoices - 1];

		if (++last->taken < last->limit)
			return true;
		run.nchoices--;
	}
	return false;
}

const char *sim_choices(void)
{
	int n = 0;

	run.text[0] = '\0';
	for (unsigned int i = 0; i < run.nchoices && n < (int)sizeof(run.text) - 32; i++)
		if (run.choices[i].taken)
			n += snprintf(run.text + n, sizeof(run.text) - (size_t)n, "%s%u=%u", n ? "," : "",
				      run.choices[i].place, run.choices[i].taken);
	return run.text;
}

static void read_choices(const char *text)
{
	while (*text && run.nchoices < MAX_CHOICES) {
		struct choice *choice = &run.choices[run.nchoices];
		char *end;

		choice->place = (uint32_t)strtoul(text, &end, 10);
		if (*end == '=') {
			choice->taken = (uint8_t)strtoul(end + 1, &end, 10);
			run.nchoices++;
		}
		text = *end ? end + 1 : end;
	}
}

/* ---- States explored ---- */

/*
 * Two executions of the same equivalence class are in the same state.  If one comes to a state that was explored with
 * as many preemptions left, nothing new follows (Musuvathi and Qadeer, "Partial-order reduction for context-bounded
 * state exploration", 2007).  Sleep sets would not do: they drop an interleaving in favour of an equivalent one that
 * may be beyond the bound.
 */
static bool explored(unsigned int current)
{
	uint64_t key = current * 16 + sim.deviations;
	size_t i;

	if (run.nseen * 2 >= run.seen_size) {
		size_t old_size = run.seen_size;
		uint64_t *old = run.seen;

		if (old_size >= (size_t)1 << 27)
			return false; /* full: go on without */
		run.seen_size = old_size ? old_size * 2 : (size_t)1 << 14;
		run.seen = calloc(run.seen_size, sizeof(*run.seen));
		if (!run.seen)
			abort();
		for (size_t k = 0; k < old_size; k++) {
			if (!old[k])
				continue;
			for (i = old[k] >> 4 & (run.seen_size - 1); run.seen[i]; i = (i + 1) & (run.seen_size - 1))
				;
			run.seen[i] = old[k];
		}
		free(old);
	}
	for (unsigned int t = 0; t < sim.nthreads; t++)
		key = sim_mix(key, sim.threads[t].chain);
	key = (key | 16) & ~(uint64_t)15;
	for (i = key >> 4 & (run.seen_size - 1); run.seen[i]; i = (i + 1) & (run.seen_size - 1)) {
		if ((run.seen[i] & ~(uint64_t)15) != key)
			continue;
		if ((run.seen[i] & 15) <= sim.preemptions)
			return true;
		run.seen[i] = key | sim.preemptions;
		return false;
	}
	run.seen[i] = key | sim.preemptions;
	run.nseen++;
	return false;
}

/* ---- Who runs ---- */

static bool runnable(const struct thread *thread)
{
	return !thread->finished && !thread->parked && !thread->awaited;
}

static unsigned int choose_dfs(bool current_runs, const unsigned int *others, unsigned int n)
{
	unsigned int choice;

	if (!sim.options.choices && !sim.options.whole && run.at == run.nchoices &&
	    explored(current_runs ? sim.cur : NOBODY))
		stop(SIM_PRUNED);
	if (!current_runs)
		return others[dfs_choose(n, WHO)];
	if (sim.preemptions >= sim.options.bound)
		return sim.cur;
	choice = dfs_choose(n + 1, WHO);
	if (!choice)
		return sim.cur;
	sim.preemptions++;
	return others[choice - 1];
}

static unsigned int choose(void)
{
	unsigned int others[SIM_THREADS], n = 0, best;
	bool current_runs = runnable(self());

	for (unsigned int t = 0; t < sim.nthreads; t++)
		if (t != sim.cur && runnable(&sim.threads[t]))
			others[n++] = t;
	if (n == 0)
		return current_runs ? sim.cur : NOBODY;
	switch (sim.options.strategy) {
	case SIM_DFS:
		return choose_dfs(current_runs, others, n);
	case SIM_RANDOM:
		if (current_runs && (next_random() >> 20 & 255) < (run.at_call ? run.stay_at_call : run.stay))
			return sim.cur;
		if (current_runs)
			others[n++] = sim.cur;
		return others[(next_random() >> 20) % n];
	case SIM_PCT:
		for (unsigned int k = 0; k < sim.options.bound; k++)
			if (run.change[k] == sim.steps)
				self()->priority = -(int64_t)k - 1;
		if (current_runs)
			others[n++] = sim.cur;
		best = others[0];
		for (unsigned int k = 1; k < n; k++)
			if (sim.threads[others[k]].priority > sim.threads[best].priority)
				best = others[k];
		return best;
	}
	return sim.cur;
}

static void go_to(unsigned int next)
{
	unsigned int from = sim.cur;

	if (next == from)
		return;
	if (sim.threads[from].finished == false && runnable(&sim.threads[from]) && sim.options.strategy != SIM_DFS)
		sim.preemptions++;
	sim.cur = next;
	run.at_call = false;
	sim_switch(&sim.threads[from].sp, sim.threads[next].sp);
}

static void step(void)
{
	if (++sim.steps > MAX_STEPS)
		sim_fail("no end after %u steps", sim.steps);
}

void sim_point(void)
{
	unsigned int next;

	step();
	next = choose();
	sim.schedule = sim_mix(sim.schedule, next);
	go_to(next);
}

/* Does one thread write it, and another one use it? */
static bool shared(uint8_t users)
{
	unsigned int writers = users >> 4, all = writers | (users & 15);

	return writers && (all & (all - 1));
}

void sim_point_at(uint8_t *users, bool write)
{
	bool before = shared(*users);

	if (sim.options.strategy != SIM_DFS || sim.options.choices) {
		sim_point();
		return;
	}
	*users |= (uint8_t)(1u << sim.cur << (write ? 4 : 0));
	if (before) {
		sim_point();
		return;
	}
	run.anew |= shared(*users);
	step();
}

void sim_block(void)
{
	unsigned int next = choose();

	if (next == NOBODY) {
		const char *what = "deadlock";

		for (unsigned int t = 0; t < sim.nthreads; t++)
			if (sim.threads[t].parked && sim.threads[t].inside)
				what = "deadlock, parked inside a read section";
		sim_fail("%s", what);
	}
	sim.schedule = sim_mix(sim.schedule, next);
	go_to(next);
}

unsigned int sim_deviate(unsigned int n)
{
	unsigned int choice = 0;

	if (n <= 1 || sim.deviations >= sim.options.deviations)
		return 0;
	if (sim.options.strategy == SIM_DFS)
		choice = dfs_choose(n > 200 ? 200 : n, WHAT);
	else if ((next_random() >> 20 & 3) == 0)
		choice = 1 + (unsigned int)(next_random() >> 20) % (n - 1);
	sim.deviations += choice != 0;
	sim.schedule = sim_mix(sim.schedule, choice);
	return choice;
}

static void thread_main(void)
{
	unsigned int next;

	run.body(sim.cur);
	self()->finished = true;
	next = choose();
	if (next == NOBODY) {
		for (unsigned int t = 0; t < sim.nthreads; t++)
			if (!sim.threads[t].finished)
				sim_fail("deadlock");
		stop(SIM_PASSED);
	}
	sim.schedule = sim_mix(sim.schedule, next);
	go_to(next);
	abort();
}

void sim_explore(const struct sim_options *options)
{
	sim.options = *options;
	sim.trace = options->trace;
	run.nchoices = 0;
	run.anew = false;
	run.length = 64;
	forget_states();
	if (options->choices)
		read_choices(options->choices);
}

static void seed_execution(uint64_t i, unsigned int length)
{
	static const uint8_t stays[] = { 0, 96, 128, 192, 224, 240, 248, 252 };

	sim.random = sim_mix(sim_mix(1, sim.options.seed), i) | 1;
	for (unsigned int k = 0; k < 4; k++)
		next_random();
	run.stay = stays[(next_random() >> 20) % 8];
	run.stay_at_call = next_random() >> 20 & 1 ? run.stay : 128;
	for (unsigned int k = 0; k < 8; k++)
		run.change[k] = 1 + (unsigned int)((next_random() >> 20) % length);
	sim.weak = sim.options.stale && (sim.options.strategy == SIM_DFS || (next_random() >> 20 & 1));
}

enum sim_result sim_execute(unsigned int nthreads, void (*body)(unsigned int thread), uint64_t i,
			    struct sim_execution *execution)
{
	run.body = body;
	execution->length = sim.options.length ? sim.options.length : run.length;
	run.failure[0] = '\0';
	run.time = 0;
	run.returned = 0;
	sim_grace_reset();
	run.at = 0;
	run.place = UINT32_MAX;
	sim.nthreads = nthreads;
	sim.schedule = 1;
	sim.steps = sim.preemptions = sim.deviations = 0;
	seed_execution(i, execution->length);
	for (unsigned int t = 0; t < nthreads; t++) {
		struct thread *thread = &sim.threads[t];
		void *stack = thread->stack ? thread->stack : aligned_alloc(64, STACK_SIZE);

		if (!stack)
			abort();
		memset(thread, 0, sizeof(*thread));
		thread->stack = stack;
		thread->seen[t] = 1;
		thread->chain = t + 1;
		thread->priority = (int64_t)(next_random() >> 40);
		prepare(thread);
	}
	/* The first thread is chosen by a point at the start of its call. */
	sim.cur = sim.options.strategy == SIM_DFS ? dfs_choose(nthreads, WHO)
						  : (unsigned int)((next_random() >> 20) % nthreads);
	sim.schedule = sim_mix(sim.schedule, sim.cur);
	sim.running = true;
	sim_switch(&run.main_sp, self()->sp);
	sim.running = false;
	execution->schedule = sim.schedule;
	execution->trace = 1;
	for (unsigned int t = 0; t < nthreads; t++)
		execution->trace = sim_mix(execution->trace, sim.threads[t].chain);
	execution->steps = sim.steps;
	execution->preemptions = sim.preemptions;
	execution->deviations = sim.deviations;
	if (run.result == SIM_PASSED)
		run.length = (run.length * 7 + sim.steps) / 8 + 1;
	return run.result;
}

/* ---- Calls ---- */

/* The first access of a call decides when it began: a point comes before it. */
uint32_t sim_call(const char *name)
{
	run.at_call = true;
	sim_point();
	run.at_call = false;
	self()->call = name;
	/* what has returned before is part of what this call may be judged by */
	learn(run.returned);
	sim_note("calls %s", name);
	return run.time;
}

bool sim_traced(void)
{
	return sim.trace;
}

uint32_t sim_return(void)
{
	sim_note("returns");
	self()->call = NULL;
	run.returned += sim_mix(sim.cur + 1, ++self()->returns);
	return ++run.time;
}

uint32_t sim_clock(void)
{
	return own_clock() - 1;
}

bool sim_weak(void)
{
	return sim.weak;
}

bool sim_saw(unsigned int thread, uint32_t clock)
{
	return self()->seen[thread] >= clock;
}

extern const struct cleave__search cleave__search_live;

const struct cleave__search *cleave_search_named(const char *name)
{
	return !name || strcmp(name, "live") == 0 ? &cleave__search_live : NULL;
}

uint64_t sim_hash(uint64_t hash, uint64_t x)
{
	return sim_mix(hash, x);
}
