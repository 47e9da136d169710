/* SPDX-License-Identifier: ISC */
/* What one thread reads: sections, lookups, iteration; and how much memory that takes. */
#include "limit.h"
#include "task.h"

#include <stdio.h>
#include <stdlib.h>

#define SUBJECTS 8

static volatile uint64_t sink;
static volatile uint64_t zero; /* what the compiler does not know to be 0 */

/* ---- Read sections ---- */

void suite_sections(struct suite *suite)
{
	static const struct bench_section *const sections[] = {
		&section_memb, &section_memb_inline, &section_qsbr_inline, &section_bp, &section_bp_inline, &section_ck,
	};
	size_t n = suite->quick ? 50000 : 200000;

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

			stopwatch_start(&watch);
			sections[i]->run(n);
			samples_add(&samples, stopwatch_seconds(&watch) / (double)n * 1e9);
		}
		sections[i]->stop();

		struct row row = {
			.workload = "section",
			.impl = sections[i]->name,
			.threads = 1,
			.unit = "ns",
			.figure = samples_figure(&samples),
		};

		suite_report(suite, &row, NULL);
	}
}

/* ---- Lookups ---- */

static double run_lookup(struct task *task, size_t ops, double *out)
{
	struct stopwatch watch;

	stopwatch_start(&watch);
	for (size_t done = 0; done < ops;) {
		size_t count = TASK_READS;
		size_t at = task_take(task, &count);

		sink += task->subject->impl->lookup(task->subject->thread, task->addrs + at, count);
		done += count;
	}

	double seconds = stopwatch_seconds(&watch);

	out[0] = seconds / (double)ops * 1e9;
	return seconds;
}

static double run_chase(struct task *task, size_t ops, double *out)
{
	struct stopwatch watch;

	stopwatch_start(&watch);
	for (size_t done = 0; done < ops;) {
		size_t count = TASK_READS;
		size_t at = task_take(task, &count);

		sink += task->subject->impl->chase(task->subject->thread, task->addrs + at, count, zero);
		done += count;
	}

	double seconds = stopwatch_seconds(&watch);

	out[0] = seconds / (double)ops * 1e9;
	return seconds;
}

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

static void lookups_of(struct suite *suite, size_t n)
{
	const struct lookup_subject wanted[SUBJECTS] = {
		{ limit_simd(), true }, { &limit_scalar, true },       { &bench_memb, false },
		{ &bench_memb, true },	{ &bench_memb_scalar, false }, { &bench_memb_scalar, true },
		{ &bench_qsbr, false }, { &bench_ck, false },
	};
	struct subject subjects[SUBJECTS];
	struct task tasks[2 * SUBJECTS];
	struct layout layout;
	size_t count = n >= 1000000 ? 4 * TASK_ADDRESSES : TASK_ADDRESSES;
	size_t nsubjects = 0, ntasks = 0;
	uint64_t sum;
	bool any = false;

	for (size_t i = 0; i < SUBJECTS && !any; i++)
		any = suite_wants(suite, "lookup", wanted[i].impl->name) ||
		      suite_wants(suite, "lookup-dep", wanted[i].impl->name) ||
		      suite_wants(suite, "lookup-dense", wanted[i].impl->name) ||
		      suite_wants(suite, "lookup-dep-dense", wanted[i].impl->name);
	if (!any)
		return;
	layout_make(&layout, n, suite->seed);

	uint64_t *addrs = layout_addresses(&layout, 0, n, count, suite->seed + 2, &sum);

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		const struct bench_impl *impl = wanted[i].impl;
		bool is_limit = i < 2;
		const char *names[2] = {
			wanted[i].dense && !is_limit ? "lookup-dense" : "lookup",
			wanted[i].dense && !is_limit ? "lookup-dep-dense" : "lookup-dep",
		};
		bool wants[2] = { suite_wants(suite, names[0], impl->name), suite_wants(suite, names[1], impl->name) };

		/* The flavours differ in updates; at one size their lookups serve as the base of these. */
		if (i >= 6 && n != SUITE_SIZE)
			continue;
		if ((i == 1 && limit_simd() == &limit_scalar) || (!wants[0] && !wants[1]))
			continue;

		struct subject *subject = &subjects[nsubjects++];

		*subject = subject_open(suite, impl, &layout, wanted[i].dense);
		if (impl->online)
			impl->online(subject->thread);
		if (impl->lookup(subject->thread, addrs, count) != sum) {
			fprintf(stderr, "cleave-bench: %s: wrong answers, n = %zu\n", impl->name, n);
			exit(1);
		}
		if (impl->offline)
			impl->offline(subject->thread);
		for (unsigned int j = 0; j < 2; j++) {
			if (!wants[j])
				continue;
			tasks[ntasks++] = (struct task){
				.workload = { names[j] },
				.subject = subject,
				.run = j ? run_chase : run_lookup,
				.addrs = addrs,
				.n = count,
				.size = n,
				.warm = n < 100000 ? n : n / 2,
			};
		}
	}
	tasks_run(suite, tasks, ntasks);
	for (size_t i = 0; i < ntasks; i++) {
		struct row row = task_row(&tasks[i], 0, "ns");
		const struct bench_impl *impl = tasks[i].subject->impl;
		bool scalar = impl == &bench_memb_scalar;
		bool dependent = tasks[i].run == run_chase;
		const struct row *base = NULL;

		if (impl != limit_simd() && impl != &limit_scalar) {
			row.base = scalar ? limit_scalar.name : limit_simd()->name;
			row.target = lookup_target(n, dependent, scalar);
			base = report_find(&suite->report, dependent ? "lookup-dep" : "lookup", row.base, n);
		}
		suite_report(suite, &row, base);
	}
	for (size_t i = 0; i < nsubjects; i++)
		subject_close(&subjects[i]);
	free(addrs);
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

	stopwatch_start(&watch);
	for (size_t done = 0; done < ops; done += task->size)
		entries += task->subject->impl->iterate(task->subject->thread);

	double seconds = stopwatch_seconds(&watch);

	out[0] = seconds / (double)entries * 1e9;
	return seconds;
}

static void size_of(struct suite *suite, const struct subject *subject, const char *workload, size_t n, double target)
{
	struct samples samples = { .n = 0 };
	size_t entries, bytes;

	if (subject->impl->online)
		subject->impl->online(subject->thread);
	subject->impl->size(subject->thread, &entries, &bytes);
	if (subject->impl->offline)
		subject->impl->offline(subject->thread);
	samples_add(&samples, (double)bytes / (double)entries);

	struct row row = {
		.workload = workload,
		.impl = subject->impl->name,
		.n = n,
		.threads = 1,
		.unit = "B",
		.figure = samples_figure(&samples),
		.target = target,
	};

	suite_report(suite, &row, NULL);
}

void suite_sizes(struct suite *suite)
{
	const struct bench_impl *impl = &bench_memb;
	static const char *const names[2][2] = { { "iterate", "bytes" }, { "iterate-dense", "bytes-dense" } };

	for (size_t i = 0; i < sizeof(task_sizes) / sizeof(task_sizes[0]); i++) {
		struct layout layout;

		if (!tasks_wanted(suite, names[0], 2, impl->name) && !tasks_wanted(suite, names[1], 2, impl->name))
			continue;
		layout_make(&layout, task_sizes[i], suite->seed);
		for (unsigned int dense = 0; dense < 2; dense++) {
			if (!tasks_wanted(suite, names[dense], 2, impl->name))
				continue;

			struct subject subject = subject_open(suite, impl, &layout, dense);
			struct task task = {
				.workload = { names[dense][0] },
				.subject = &subject,
				.run = run_iterate,
				.size = task_sizes[i],
				.warm = task_sizes[i],
			};
			size_t ntasks = 0;

			tasks_add(suite, &task, &ntasks, &task);
			tasks_run(suite, &task, ntasks);
			tasks_report(suite, &task, ntasks, 0, "ns", 0);
			if (suite_wants(suite, names[dense][1], impl->name))
				size_of(suite, &subject, names[dense][1], task_sizes[i], dense ? 33 : 45);
			subject_close(&subject);
		}
		layout_free(&layout);
	}
}
