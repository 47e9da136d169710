/* SPDX-License-Identifier: ISC */
/* What one thread reads: sections, lookups, iteration; and how much memory that takes. */
#include "limit.h"
#include "pace.h"
#include "task.h"

#include <stdio.h>
#include <stdlib.h>

#define SUBJECTS (8 + SUITE_IMPLS)

/* What is asked for, in the order of a round: near to each other what is compared. */
enum kind { LOOKUP, VALUE, CHASE, CHASE_VALUE, EACH, FIRST, MANY, KINDS };

static volatile uint64_t sink;
static volatile uint64_t zero; /* what the compiler does not know to be 0 */

/* ---- Read sections ---- */

void suite_sections(struct suite *suite)
{
	static const struct bench_section *const sections[] = {
		&section_memb, &section_memb_inline, &section_qsbr_inline, &section_bp, &section_bp_inline, &section_ck,
	};
	size_t n = suite->smoke ? 50000 : 1000000;

	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		struct samples samples = { .n = 0 };

		if (!suite_wants(suite, "section", sections[i]->name))
			continue;
		measure_unpin();
		sections[i]->start();
		measure_pin(suite->processor[0]);
		sections[i]->run(n);
		for (unsigned int round = 0; round < suite->repetitions; round++) {
			struct stopwatch watch;
			struct pace pace;
			double seconds;

			do {
				pace_begin(&pace);
				pace_mark(&pace);
				stopwatch_start(&watch);
				sections[i]->run(n);
				seconds = stopwatch_seconds(&watch);
			} while (!pace_end(&pace));
			samples_add_paced(&samples, seconds / (double)n * 1e9, pace.full);
		}
		sections[i]->stop();

		struct row row = {
			.workload = "section",
			.impl = sections[i]->name,
			.threads = 1,
			.unit = "ns",
			.samples = samples,
		};

		suite_report(suite, &row, NULL);
	}
}

/* ---- Lookups ---- */

typedef uint64_t read_batch(void *thread, const uint64_t *addrs, size_t n);
typedef uint64_t chase_batch(void *thread, const uint64_t *addrs, size_t n, uint64_t zero);

static double time_reads(struct task *task, size_t ops, double *out, read_batch *batch)
{
	struct stopwatch watch;

	stopwatch_start(&watch);
	for (size_t done = 0; done < ops;) {
		size_t count = TASK_READS;
		size_t at = task_take(task, &count);

		sink += batch(task->subject->thread, task->addrs + at, count);
		done += count;
	}

	double seconds = stopwatch_seconds(&watch);

	out[0] = seconds / (double)ops * 1e9;
	return seconds;
}

double task_lookup(struct task *task, size_t ops, double *out)
{
	return time_reads(task, ops, out, task->subject->impl->lookup);
}

static double run_value(struct task *task, size_t ops, double *out)
{
	return time_reads(task, ops, out, task->subject->impl->lookup_value);
}

static double run_each(struct task *task, size_t ops, double *out)
{
	return time_reads(task, ops, out, task->subject->impl->lookup_each);
}

static double run_many(struct task *task, size_t ops, double *out)
{
	return time_reads(task, ops, out, task->subject->impl->lookup_many);
}

static double run_first(struct task *task, size_t ops, double *out)
{
	const struct bench_impl *impl = task->subject->impl;

	return time_reads(task, ops, out, impl->lookup_first ? impl->lookup_first : impl->lookup);
}

static double time_chase(struct task *task, size_t ops, double *out, chase_batch *batch)
{
	struct stopwatch watch;

	stopwatch_start(&watch);
	for (size_t done = 0; done < ops;) {
		size_t count = TASK_READS;
		size_t at = task_take(task, &count);

		sink += batch(task->subject->thread, task->addrs + at, count, zero);
		done += count;
	}

	double seconds = stopwatch_seconds(&watch);

	out[0] = seconds / (double)ops * 1e9;
	return seconds;
}

static double run_chase(struct task *task, size_t ops, double *out)
{
	return time_chase(task, ops, out, task->subject->impl->chase);
}

static double run_chase_value(struct task *task, size_t ops, double *out)
{
	return time_chase(task, ops, out, task->subject->impl->chase_value);
}

static double (*const runs[KINDS])(struct task *, size_t, double *) = {
	[LOOKUP] = task_lookup, [VALUE] = run_value, [CHASE] = run_chase, [CHASE_VALUE] = run_chase_value,
	[EACH] = run_each,	[FIRST] = run_first, [MANY] = run_many,
};

struct lookup_subject {
	const struct bench_impl *impl;
	bool dense;
};

static double lookup_target(size_t n, bool dependent, bool scalar)
{
	if (scalar)
		return 1.5;
	if (n <= SUITE_SIZE)
		return dependent ? 1.4 : 1.5;
	if (n <= 100000)
		return dependent ? 1.5 : 1.8;
	return dependent ? 1.6 : 2.5;
}

/* The kinds of lookup that an implementation is asked for: a name for each, or NULL. */
static bool kinds_of(const struct suite *suite, const struct lookup_subject *subject, size_t n,
		     const char *names[KINDS])
{
	const struct bench_impl *impl = subject->impl;
	bool limit = impl == limit_simd() || impl == &limit_scalar;
	bool dense = subject->dense && !limit;
	bool peers_too = impl == &bench_memb || impl->peer;
	bool any = false;

	names[LOOKUP] = !impl->lookup ? NULL : dense ? "lookup-dense" : "lookup";
	names[CHASE] = !impl->chase ? NULL : dense ? "lookup-dep-dense" : "lookup-dep";
	names[VALUE] = !impl->lookup_value ? NULL : dense ? "value-dense" : "value";
	names[CHASE_VALUE] = !impl->chase_value ? NULL : dense ? "value-dep-dense" : "value-dep";
	names[EACH] = impl->lookup_each && !dense ? "lookup-each" : NULL;
	names[FIRST] = n == SUITE_SIZE && !dense && peers_too ? "lookup-first" : NULL;
	names[MANY] = !impl->lookup_many ? NULL : dense ? "lookup-many-dense" : "lookup-many";
	for (enum kind i = 0; i < KINDS; i++) {
		if (names[i] && !suite_wants(suite, names[i], impl->name))
			names[i] = NULL;
		any = any || names[i];
	}
	/* The flavours differ in updates; at one size their lookups serve as the base of these. */
	if ((impl == &bench_qsbr || impl == &bench_ck) && n != SUITE_SIZE)
		return false;
	return any && suite_size_wanted(suite, impl, n);
}

static void check_answers(const struct subject *subject, read_batch *batch, const uint64_t *addrs, size_t count,
			  uint64_t sum)
{
	const struct bench_impl *impl = subject->impl;

	if (impl->online)
		impl->online(subject->thread);
	if (batch(subject->thread, addrs, count) != sum) {
		fprintf(stderr, "cleave-bench: %s: wrong answers\n", impl->name);
		exit(1);
	}
	if (impl->offline)
		impl->offline(subject->thread);
}

/* Ratios to the limit, which finds a value alone, for the library; to the library for peers. */
static void report_lookup(struct suite *suite, const struct task *task)
{
	struct row row = task_row(task, 0, "ns");
	const struct bench_impl *impl = task->subject->impl;
	bool scalar = impl == &bench_memb_scalar;
	bool dependent = task->run == run_chase || task->run == run_chase_value;
	const struct row *base = NULL;

	if (impl->peer) {
		suite_report_peer(suite, &row);
		return;
	}
	if (impl != limit_simd() && impl != &limit_scalar) {
		const char *same = dependent ? "lookup-dep" : task->run == run_many ? "lookup-many" : "lookup";

		row.base = scalar ? limit_scalar.name : limit_simd()->name;
		base = report_find(&suite->report, same, row.base, task->size);
		if (task->run == run_many)
			row.target = 1.3;
		else if (dependent || task->run == task_lookup || task->run == run_value)
			row.target = lookup_target(task->size, dependent, scalar);
	}
	suite_report(suite, &row, base);
}

static void lookups_of(struct suite *suite, size_t n)
{
	struct lookup_subject wanted[SUBJECTS] = {
		{ limit_simd(), true }, { &limit_scalar, true },       { &bench_memb, false },
		{ &bench_memb, true },	{ &bench_memb_scalar, false }, { &bench_memb_scalar, true },
	};
	struct subject subjects[SUBJECTS];
	struct task tasks[KINDS * SUBJECTS];
	const char *names[SUBJECTS][KINDS];
	struct layout layout;
	size_t count = n >= 1000000 ? 4 * TASK_ADDRESSES : TASK_ADDRESSES;
	size_t nwanted = 6, nsubjects = 0, ntasks = 0;
	uint64_t sum, sum_first;
	bool any = false;

	for (size_t i = 1; i < suite->nimpls; i++)
		wanted[nwanted++] = (struct lookup_subject){ suite->impls[i], false };
	for (size_t i = 0; i < nwanted && !any; i++)
		any = kinds_of(suite, &wanted[i], n, names[0]);
	if (!any)
		return;
	layout_make(&layout, n, suite->seed);

	uint64_t *addrs = layout_addresses(&layout, 0, n, count, suite->seed + 2, &sum);
	uint64_t *firsts = layout_firsts(&layout, count, suite->seed + 2, &sum_first);

	for (size_t i = 0; i < nwanted; i++) {
		const struct bench_impl *impl = wanted[i].impl;

		if ((i == 1 && limit_simd() == &limit_scalar) || !kinds_of(suite, &wanted[i], n, names[nsubjects]))
			continue;

		struct subject *subject = &subjects[nsubjects++];

		*subject = subject_open(suite, impl, &layout, wanted[i].dense);
		if (impl->lookup)
			check_answers(subject, impl->lookup, addrs, count, sum);
		if (impl->lookup_value)
			check_answers(subject, impl->lookup_value, addrs, count, sum);
		if (impl->lookup_many)
			check_answers(subject, impl->lookup_many, addrs, count, sum);
		if (impl->lookup_first)
			check_answers(subject, impl->lookup_first, firsts, count, sum_first);
	}
	for (enum kind kind = 0; kind < KINDS; kind++) {
		for (size_t i = 0; i < nsubjects; i++) {
			if (!names[i][kind])
				continue;
			tasks[ntasks++] = (struct task){
				.workload = { names[i][kind] },
				.subject = &subjects[i],
				.run = runs[kind],
				.addrs = kind == FIRST ? firsts : addrs,
				.n = count,
				.size = n,
			};
		}
	}
	tasks_run(suite, tasks, ntasks);
	for (size_t i = 0; i < ntasks; i++)
		report_lookup(suite, &tasks[i]);
	for (size_t i = 0; i < nsubjects; i++)
		subject_close(&subjects[i]);
	free(addrs);
	free(firsts);
	layout_free(&layout);
}

void suite_lookups(struct suite *suite)
{
	for (size_t i = 0; i < sizeof(task_sizes) / sizeof(task_sizes[0]); i++)
		lookups_of(suite, task_sizes[i]);
}

/* ---- Iteration and memory ---- */

static double run_iterate(struct task *task, size_t ops, double *out)
{
	struct stopwatch watch;
	size_t entries = 0;
	uint64_t sum = 0;

	stopwatch_start(&watch);
	for (size_t done = 0; done < ops; done += task->size)
		entries += task->subject->impl->iterate(task->subject->thread, &sum);

	double seconds = stopwatch_seconds(&watch);

	sink = sum;
	out[0] = seconds / (double)entries * 1e9;
	return seconds;
}

static void add_size(const struct subject *subject, struct samples *samples)
{
	size_t entries, bytes;

	if (subject->impl->online)
		subject->impl->online(subject->thread);
	subject->impl->size(subject->thread, &entries, &bytes);
	if (subject->impl->offline)
		subject->impl->offline(subject->thread);
	samples_add(samples, (double)bytes / (double)entries);
}

#define LAYOUTS 15 /* small indexes of one kind differ by some bytes an entry */

/* Of the subject, and of others of the library like it where they are quickly made. */
static void report_size(struct suite *suite, const struct subject *subject, const char *workload, size_t n, bool dense,
			double target)
{
	struct samples samples = { .n = 0 };

	add_size(subject, &samples);
	for (unsigned int i = 1; i < LAYOUTS && n <= SUITE_SIZE && !subject->impl->peer && !suite->smoke; i++) {
		struct suite another = *suite; /* of another seed */
		struct subject other;
		struct layout layout;

		another.seed += i;
		layout_make(&layout, n, another.seed);
		other = subject_open(&another, subject->impl, &layout, dense);
		add_size(&other, &samples);
		subject_close(&other);
		layout_free(&layout);
	}

	struct row row = {
		.workload = workload,
		.impl = subject->impl->name,
		.n = n,
		.threads = 1,
		.unit = "B",
		.samples = samples,
		.target = target,
	};

	if (subject->impl->peer)
		suite_report_peer(suite, &row);
	else
		suite_report(suite, &row, NULL);
}

/* Iteration and memory of one way to fill the index: entry by entry in random order, or in order at once. */
static void sizes_of(struct suite *suite, const struct layout *layout, bool dense)
{
	const char *const names[] = { dense ? "iterate-dense" : "iterate", dense ? "bytes-dense" : "bytes" };
	struct subject subjects[SUITE_IMPLS];
	struct task tasks[SUITE_IMPLS];
	size_t nsubjects = 0, ntasks = 0;

	for (size_t i = 0; i < suite->nimpls; i++) {
		const struct bench_impl *impl = suite->impls[i];

		if ((!impl->peer && impl != &bench_memb) || !impl->size || !suite_size_wanted(suite, impl, layout->n) ||
		    !tasks_wanted(suite, names, 2, impl->name))
			continue;

		struct subject *subject = &subjects[nsubjects++];

		*subject = subject_open(suite, impl, layout, dense);
		tasks[ntasks++] = (struct task){
			.workload = { names[0] },
			.subject = subject,
			.run = run_iterate,
			.size = layout->n,
		};
	}
	tasks_run(suite, tasks, ntasks);
	tasks_report(suite, tasks, ntasks, 0, "ns", 0);
	for (size_t i = 0; i < nsubjects; i++) {
		if (suite_wants(suite, names[1], subjects[i].impl->name))
			report_size(suite, &subjects[i], names[1], layout->n, dense, dense ? 33 : 45);
		subject_close(&subjects[i]);
	}
}

void suite_sizes(struct suite *suite)
{
	for (size_t i = 0; i < sizeof(task_sizes) / sizeof(task_sizes[0]); i++) {
		struct layout layout;

		if (!suite_size_wanted(suite, &bench_memb, task_sizes[i]) || (suite->quick && task_sizes[i] >= 1000000))
			continue;
		layout_make(&layout, task_sizes[i], suite->seed);
		for (unsigned int dense = 0; dense < 2; dense++)
			sizes_of(suite, &layout, dense);
		layout_free(&layout);
	}
}
