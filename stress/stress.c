/* SPDX-License-Identifier: ISC */
/*
 * cleave-stress: recorded address spaces, writers and fault threads on one index, and an oracle that judges every
 * answer.  README.md tells what is imitated and how a failure is read.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../tools/program.h"
#include "change.h"
#include "report.h"
#include "shared.h"

#define PAUSE_SECONDS 3
#define STORM_NS UINT64_C(500000000) /* so long a storm, so long none */
#define WIDE_PER_WRITER 2
#define NARROW_PER_WRITER 3
#define NARROW_FIRST ((UINT64_C(0x2000) << 48) + 1)
#define NARROW_SIZE 20

#ifndef STRESS_TRACES
#define STRESS_TRACES "stress/traces"
#endif

const char *const plant_names[PLANTS] = {
	"nothing", "torn", "stale", "early-free", "early-reuse", "split-pair", "lost-change",
};

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* ---- Options ---- */

static const char help[] =
	"usage: cleave-stress [options]\n"
	"\n"
	"Replays recordings of real address spaces through the library, compares every recorded snapshot, then\n"
	"lets writers and fault threads loose on one index and judges every answer.\n"
	"\n"
	"  --seconds N     how long (30)\n"
	"  --writers N     threads that change the index (8)\n"
	"  --faulters N    threads that look things up (8)\n"
	"  --seed N        of all random choices; schedules still differ (from the clock)\n"
	"  --flavour NAME  memb, qsbr, bp or ck (the first that is built)\n"
	"  --search NAME   the walk: scalar, avx2, avx512 (the best one)\n"
	"  --traces DIR    recordings (" STRESS_TRACES ")\n"
	"  --scale N       repeat clusters of large recordings up to N ranges and more (6849)\n"
	"  --json FILE     the figures at the end for a machine; - for standard output\n"
	"  --plant FAULT   prove that a fault is found: torn, stale, early-free, early-reuse, split-pair, lost-change\n"
	"  --help          this text\n"
	"\n"
	"Examples:\n"
	"  cleave-stress --seconds 300 --flavour qsbr\n"
	"  cleave-stress --seconds 5 --plant torn; echo $?\n"
	"\n"
	"Exit status: 0 no violation, 1 a violation, 2 wrong usage, a damaged recording or no output; 130 "
	"interrupted.\n";

static const struct flavour *flavour_named(const char *name)
{
	for (size_t i = 0; flavours[i]; i++)
		if (!strcmp(flavours[i]->name, name))
			return flavours[i];
	program_wrong("flavour %s is not built", name);
}

static enum plant plant_named(const char *name)
{
	for (unsigned int i = 1; i < PLANTS; i++)
		if (!strcmp(plant_names[i], name))
			return (enum plant)i;
	program_wrong("there is no fault %s to plant", name);
}

static void parse(struct options *options, int argc, char **argv)
{
	static const struct option names[] = {
		{ "seconds", required_argument, NULL, 's' },  { "writers", required_argument, NULL, 'w' },
		{ "faulters", required_argument, NULL, 'f' }, { "seed", required_argument, NULL, 'r' },
		{ "flavour", required_argument, NULL, 'F' },  { "search", required_argument, NULL, 'S' },
		{ "traces", required_argument, NULL, 't' },   { "scale", required_argument, NULL, 'n' },
		{ "json", required_argument, NULL, 'j' },     { "plant", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },	      { NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "h", names, NULL)) != -1) {
		switch (option) {
		case 's':
			options->seconds = program_number("seconds", optarg, 0, 1000000);
			break;
		case 'w':
			options->writers = (unsigned int)program_number("writers", optarg, 1, 64);
			break;
		case 'f':
			options->faulters = (unsigned int)program_number("faulters", optarg, 0, 256);
			break;
		case 'r':
			options->seed = program_number("seed", optarg, 0, UINT64_MAX);
			break;
		case 'n':
			options->scale = program_number("scale", optarg, 1, 200000);
			break;
		case 'F':
			options->flavour = flavour_named(optarg);
			break;
		case 'p':
			options->plant = plant_named(optarg);
			break;
		case 'S':
			options->search = optarg;
			if (!cleave_search_named(optarg))
				program_wrong("no walk %s for this build and processor", optarg);
			break;
		case 't':
			options->traces = optarg;
			break;
		case 'j':
			options->json = program_output(optarg);
			break;
		case 'h':
			program_help(help);
		default:
			program_wrong("%s", "");
		}
	}
	if (optind < argc)
		program_wrong("what is %s?", argv[optind]);
}

/* ---- Crashes and hangs ---- */

#define PATIENCE 180 /* seconds after which a job that should have ended hangs */

static bool crash_expected;
static const struct job *watched;

/* They are violations too.  Readers that walk through nodes in use for something else may well crash. */
static void crashed(int number)
{
	static const char crash[] = "\nVIOLATION: it crashed (the seed is above)\n";
	static const char hang[] = "\nVIOLATION: it hangs (the seed is above)\n";
	ssize_t written;

	if (number == SIGALRM)
		written = write(STDOUT_FILENO, hang, sizeof(hang) - 1);
	else
		written = write(STDOUT_FILENO, crash, sizeof(crash) - 1);
	(void)written;
	if (crash_expected || atomic_load(&watched->violations))
		_exit(EXIT_FAILURE);
	abort();
}

/* Seconds that this process was there to live through: whoever stops it (SIGSTOP) makes no hang of it. */
static void *wait_for_hang(void *patience)
{
	for (unsigned int left = *(unsigned int *)patience; left > 0; left--)
		sleep(1);
	raise(SIGALRM);
	return NULL;
}

static void watch(const struct job *job)
{
	static unsigned int patience;
	const struct options *options = &job->options;
	pthread_t watchdog;
	struct sigaction action = { .sa_handler = crashed, .sa_flags = (int)SA_RESETHAND };

	watched = job;
	crash_expected = options->plant != PLANT_NOTHING;
	sigaction(SIGALRM, &action, NULL);
	patience = (unsigned int)options->seconds + (crash_expected ? 10 : PATIENCE);
	if (pthread_create(&watchdog, NULL, wait_for_hang, &patience) == 0)
		pthread_detach(watchdog);
	/* Sanitizers say more about it than we can. */
	if (crash_expected) {
		sigaction(SIGSEGV, &action, NULL);
		sigaction(SIGBUS, &action, NULL);
	}
}

/* ---- The domain and the index ---- */

static bool done_at_once(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	(void)domain;
	(void)self;
	(void)cookie;
	return true;
}

/* With PLANT_EARLY_REUSE a walk may still be in a node: never give its memory back. */
static void *leak_alloc(const struct cleave_memory *memory, size_t size, size_t align)
{
	(void)memory;
	return aligned_alloc(align, size);
}

static void leak_free(const struct cleave_memory *memory, void *node, size_t size)
{
	(void)memory;
	(void)node;
	(void)size;
}

static int start_domain(struct job *job)
{
	static const struct cleave_memory leaking = { leak_alloc, leak_free };
	const struct flavour *flavour = job->options.flavour;
	bool early = job->options.plant == PLANT_EARLY_REUSE;
	size_t size = (flavour->domain_size + 63) & ~(size_t)63;
	int error;

	job->domain = aligned_alloc(64, size);
	if (!job->domain)
		return -ENOMEM;
	memset(job->domain, 0, size);
	error = flavour->start(job->domain, early ? &leaking : NULL, 0);
	if (error)
		return error;
	job->core = flavour->domain(job->domain);
	job->ops = job->core->ops;
	if (job->options.search)
		job->core->search = cleave_search_named(job->options.search);
	if (early) {
		job->early_ops = *job->core->ops;
		job->early_ops.done = done_at_once;
		job->core->ops = &job->early_ops;
	}
	return 0;
}

/* ---- Stripes ---- */

/* The first and the last wide stripe hold the lowest and the highest address; odd ones leave room for the others. */
static uint64_t wide_base(unsigned int number, unsigned int of)
{
	return number ? ((uint64_t)number * 0xffff / (of - 1) | 1) << STRIPE_BITS : 0;
}

int stripes_start(struct job *job)
{
	unsigned int writers = job->options.writers, wide = WIDE_PER_WRITER * writers;
	int error = 0;

	job->nstripes = wide + NARROW_PER_WRITER * writers;
	job->stripes = aligned_alloc(64, (job->nstripes * sizeof(*job->stripes) + 63) & ~(size_t)63);
	if (!job->stripes)
		return -ENOMEM;
	memset(job->stripes, 0, job->nstripes * sizeof(*job->stripes));
	for (unsigned int i = 0; i < job->nstripes; i++) {
		struct stripe *stripe = &job->stripes[i];

		stripe->number = i;
		stripe->owner = 1 + i % writers;
		stripe->narrow = i >= wide;
		stripe->first = stripe->narrow ? NARROW_FIRST + (uint64_t)(i - wide) * NARROW_SIZE : wide_base(i, wide);
		stripe->last = stripe->first + (stripe->narrow ? NARROW_SIZE - 1 : (UINT64_C(1) << STRIPE_BITS) - 1);
		stripe->base = stripe->first;
	}
	return error;
}

void stripes_stop(struct job *job)
{
	for (unsigned int i = 0; i < job->nstripes; i++)
		stripe_exit(&job->stripes[i]);
	free(job->stripes);
}

/* ---- Threads ---- */

static void *run(void *argument)
{
	struct worker *worker = argument;
	struct job *job = worker->job;
	struct gate *gate = &job->gate;

	worker_start(worker);
	if (worker->number <= job->options.writers)
		writer_run(worker);
	else
		reader_run(worker);
	worker_stop(worker);
	pthread_mutex_lock(&gate->lock);
	gate->running--;
	pthread_cond_broadcast(&gate->changed);
	pthread_mutex_unlock(&gate->lock);
	return NULL;
}

static void print_line(struct cleave_lines *lines, const char *text)
{
	(void)lines;
	printf("  %s\n", text);
}

static void raise_peak(uint64_t *peak, uint64_t value)
{
	if (value > *peak)
		*peak = value;
}

/* Everybody stands still: check all that can be checked. */
static void check_all(struct job *job)
{
	struct worker *main = &job->workers[0];
	struct cleave_lines lines = { print_line };
	struct cleave_statistics statistics;

	count(main, COUNT_CHECKED_INDEX, 1);
	if (cleave_check(&job->index, &lines))
		violation(main, 0, "cleave_check() finds faults");
	worker_enter(main);
	cleave_statistics_rcu(&job->index, &statistics);
	worker_leave(main);
	raise_peak(&job->peaks.entries, statistics.entries);
	raise_peak(&job->peaks.leaves, statistics.leaves);
	raise_peak(&job->peaks.branches, statistics.branches);
	raise_peak(&job->peaks.bytes, statistics.bytes);
	raise_peak(&job->peaks.height, statistics.height);
	for (unsigned int i = 0; i < job->nstripes; i++)
		change_compare(main, &job->stripes[i], NULL);
	shared_census(main);
	job->pauses++;
}

static void pause_all(struct job *job)
{
	struct gate *gate = &job->gate;

	pthread_mutex_lock(&gate->lock);
	atomic_store(&gate->wanted, true);
	while (gate->standing < gate->running)
		pthread_cond_wait(&gate->changed, &gate->lock);
	if (!atomic_load(&job->violations)) {
		job->options.flavour->online();
		check_all(job);
		job->options.flavour->offline();
	}
	atomic_store(&gate->wanted, false);
	pthread_cond_broadcast(&gate->changed);
	while (gate->standing > 0)
		pthread_cond_wait(&gate->changed, &gate->lock);
	pthread_mutex_unlock(&gate->lock);
}

static int run_all(struct job *job, uint64_t until_ns)
{
	uint64_t begun = now_ns(), paused = begun;
	unsigned int started = 1;
	int error = 0;

	job->gate.running = job->nworkers - 1;
	for (; started < job->nworkers && !error; started++)
		error = -pthread_create(&job->workers[started].thread, NULL, run, &job->workers[started]);
	if (!error)
		error = shake_start(job);
	if (error) {
		fprintf(stderr, "cleave-stress: %s\n", strerror(-error));
		exit(PROGRAM_WRONG); /* nothing was wrong with the library */
	}
	job->options.flavour->offline();
	while (now_ns() < until_ns && !atomic_load(&job->stop) && !program_stopped) {
		struct timespec nap = { .tv_nsec = 20000000 };
		uint64_t garbage;

		nanosleep(&nap, NULL);
		garbage = __atomic_load_n(&job->core->garbage.word, __ATOMIC_RELAXED);
		if ((int64_t)garbage > 0)
			raise_peak(&job->peaks.garbage, garbage);
		atomic_store(&job->storm, (now_ns() - begun) / STORM_NS % 2);
		report_progress(job, now_ns() - begun);
		if (now_ns() - paused > PAUSE_SECONDS * UINT64_C(1000000000)) {
			pause_all(job);
			paused = now_ns();
		}
	}
	atomic_store(&job->stop, true);
	shake_stop(job);
	for (unsigned int i = 1; i < started; i++)
		pthread_join(job->workers[i].thread, NULL);
	job->options.flavour->online();
	job->job_ns = now_ns() - begun;
	if (!atomic_load(&job->violations))
		check_all(job);
	return error;
}

/* ---- The job ---- */

static int prepare(struct job *job)
{
	struct worker *main = &job->workers[0];
	int error = cleave_init(&job->index, main->self);

	for (unsigned int i = 0; i < job->nstripes && !error; i++)
		error = stripe_init(&job->stripes[i], main);
	if (!error)
		error = shared_init(main);
	for (unsigned int i = 1; i < job->nworkers && !error; i++)
		error = worker_init(&job->workers[i], job, i);
	return error;
}

static void clean(struct job *job)
{
	struct worker *main = &job->workers[0];

	cleave_destroy(&job->index, main->self);
	worker_stop(main);
	stripes_stop(job);
	job->options.flavour->stop(job->domain);
	for (unsigned int i = 0; i < job->nworkers; i++)
		worker_free(&job->workers[i]);
}

static int execute(struct job *job)
{
	uint64_t span = job->options.seconds * UINT64_C(1000000000), until = now_ns() + span;
	struct worker *main;
	int error = start_domain(job);

	if (!error)
		error = stripes_start(job);
	if (error)
		return error;
	job->nworkers = 1 + job->options.writers + job->options.faulters;
	job->workers = calloc(job->nworkers, sizeof(*job->workers));
	job->heap_holder = calloc(HEAP_SIZE, sizeof(*job->heap_holder));
	if (!job->workers || !job->heap_holder)
		return -ENOMEM;
	main = &job->workers[0];
	error = worker_init(main, job, 0);
	if (error)
		return error;
	worker_start(main);
	error = exact_replay(job);
	if (error)
		return error;
	report_exact(job);
	error = prepare(job);
	if (error)
		return error;
	/* The replay may have been slow: half of the time at least is for the threads. */
	if (until < now_ns() + span / 2)
		until = now_ns() + span / 2;
	run_all(job, until);
	report_end(job);
	if (job->options.json && !report_json(job, job->options.json))
		error = PROGRAM_WRONG;
	/* After a violation the index may be broken, and leaving is not what is tested. */
	if (!atomic_load(&job->violations))
		clean(job);
	return error;
}

int main(int argc, char **argv)
{
	static struct job job = {
		.options = { .seconds = 30, .writers = 8, .faulters = 8, .traces = STRESS_TRACES, .scale = 6849 },
		.gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER },
	};
	int error;

	program_begin(argv);
	job.options.seed = now_ns() ^ (uint64_t)getpid() << 40;
	job.options.flavour = flavours[0];
	parse(&job.options, argc, argv);
	program_ends_early();
	if (scripts_load(&job.scripts, job.options.traces, job.options.scale, job.options.seed))
		return program_end(PROGRAM_WRONG);
	report_begin(&job);
	watch(&job);
	error = execute(&job);
	scripts_unload(&job.scripts);
	if (error < 0)
		fprintf(stderr, "%s: %s\n", program_name, strerror(-error));
	if (atomic_load(&job.violations) || error == 1)
		return program_end(EXIT_FAILURE);
	return program_end(error ? PROGRAM_WRONG : EXIT_SUCCESS);
}
