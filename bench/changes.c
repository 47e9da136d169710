/* SPDX-License-Identifier: ISC */
/* What one thread changes: clips, maps and unmaps, pieces cut and free space taken. */
#include "task.h"

#include <stdlib.h>

#define DRAWS ((size_t)1 << 16) /* of the random entries to be changed */
#define STOLEN 20
#define CUT_SIZE ((uint64_t)1 << 30)
#define CUT_PIECE ((uint64_t)64 << 10)

static double run_clip_pair(struct task *task, size_t ops, double *out)
{
	uint64_t before = task_copies(task);
	struct stopwatch watch;

	stopwatch_start(&watch);
	for (size_t done = 0; done < ops;) {
		size_t count = TASK_WRITES;
		size_t at = task_take(task, &count);

		task->failed += task->subject->impl->clip_unclip(task->subject->thread, task->addrs + at, count);
		done += count;
	}

	double seconds = stopwatch_seconds(&watch);

	out[0] = seconds / (double)ops / 2 * 1e9;
	out[1] = 100 * (double)(task_copies(task) - before) / (double)ops;
	return seconds;
}

/*
 * Two kinds of batches by turns.  The stopwatch gives the sum; how it is shared out was seen from the wall clock in the
 * untimed pass before: three readings for each batch would be 1 to 3 ns of each operation.  A batch that took STOLEN
 * times the least is left out: then the wall clock went on while somebody else had the processor.
 * out: the sum, the first kind, the second kind, the share of copies among the first.
 */
static double run_turns(struct task *task, size_t ops, double *out, size_t (*first)(struct task *, size_t, size_t),
			size_t (*second)(struct task *, size_t, size_t))
{
	uint64_t before = task_copies(task);
	double start, middle, end, least = 0, in_first = 0, in_second = 0;
	bool clocks = !task->timed;
	struct stopwatch watch;

	stopwatch_start(&watch);
	for (size_t done = 0; done < ops;) {
		size_t count = TASK_WRITES;
		size_t at = task_take(task, &count);

		start = clocks ? measure_wall() : 0;
		task->failed += first(task, at, count);
		middle = clocks ? measure_wall() : 0;
		task->failed += second(task, at, count);
		end = clocks ? measure_wall() : 0;
		if (end - start < STOLEN * least) {
			in_first += middle - start;
			in_second += end - middle;
		}
		if (count == TASK_WRITES && (least == 0 || end - start < least))
			least = end - start;
		done += count;
	}

	double seconds = stopwatch_seconds(&watch);
	double each = seconds / (double)ops * 1e9;

	if (in_first + in_second > 0)
		task->share = in_first / (in_first + in_second);
	out[0] = each;
	out[1] = each * task->share;
	out[2] = each * (1 - task->share);
	out[3] = 100 * (double)(task_copies(task) - before) / (double)ops;
	return seconds;
}

static size_t clips(struct task *task, size_t at, size_t count)
{
	return task->subject->impl->clip(task->subject->thread, task->addrs + at, count);
}

static size_t unclips(struct task *task, size_t at, size_t count)
{
	return task->subject->impl->unclip(task->subject->thread, task->addrs + at, count);
}

static size_t erases(struct task *task, size_t at, size_t count)
{
	return task->subject->impl->erase(task->subject->thread, task->entries + at, count);
}

static size_t inserts(struct task *task, size_t at, size_t count)
{
	return task->subject->impl->insert(task->subject->thread, task->entries + at, count);
}

static struct cleave_entry made[TASK_WRITES];

static size_t allocs(struct task *task, size_t at, size_t count)
{
	return task->subject->impl->alloc(task->subject->thread, task->requests + at, made, count);
}

static size_t frees(struct task *task, size_t at, size_t count)
{
	(void)at;
	return task->subject->impl->erase(task->subject->thread, made, count);
}

static double run_clip_apart(struct task *task, size_t ops, double *out)
{
	return run_turns(task, ops, out, clips, unclips);
}

static double run_remap(struct task *task, size_t ops, double *out)
{
	return run_turns(task, ops, out, erases, inserts);
}

static double run_alloc(struct task *task, size_t ops, double *out)
{
	return run_turns(task, ops, out, allocs, frees);
}

static double run_find(struct task *task, size_t ops, double *out)
{
	struct stopwatch watch;

	stopwatch_start(&watch);
	for (size_t done = 0; done < ops;) {
		size_t count = TASK_WRITES;
		size_t at = task_take(task, &count);

		task->failed += task->subject->impl->find(task->subject->thread, task->requests + at, count);
		done += count;
	}

	double seconds = stopwatch_seconds(&watch);

	out[0] = seconds / (double)ops * 1e9;
	return seconds;
}

/* Cut an entry of 1 GiB, above all others, into pieces of 64 KiB. */
static double run_cut(struct task *task, size_t ops, double *out)
{
	const struct bench_impl *impl = task->subject->impl;
	void *thread = task->subject->thread;
	size_t pieces = task->n + 1;
	size_t entries, whole, cut;
	uint64_t before;
	struct stopwatch watch;

	(void)ops;
	stopwatch_start(&watch);
	task->failed += impl->store(thread, task->entries, 1);
	out[1] = stopwatch_seconds(&watch) / (double)pieces * 1e9;
	impl->size(thread, &entries, &whole);
	before = task_copies(task);
	stopwatch_start(&watch);
	for (size_t at = 0; at < task->n; at += TASK_READS)
		task->failed +=
			impl->clip(thread, task->addrs + at, task->n - at < TASK_READS ? task->n - at : TASK_READS);

	double seconds = stopwatch_seconds(&watch);

	out[0] = seconds / (double)pieces * 1e9;
	impl->size(thread, &entries, &cut);
	out[2] = (double)(cut - whole) / (double)pieces;
	out[3] = 100 * (double)(task_copies(task) - before) / (double)pieces;
	return seconds;
}

/* ---- What an implementation has ---- */

static bool clips_wanted(const struct suite *suite, const struct bench_impl *impl, size_t n)
{
	static const char *const names[] = { "clip", "clip-copies", "clip-alone", "unclip-alone" };

	/* A million entries are slow to make, and to warm. */
	return impl->clip_unclip && (!suite->quick || n < 1000000) && suite_size_wanted(suite, impl, n) &&
	       (!impl->largest || n <= impl->largest) &&
	       tasks_wanted(suite, names, n == SUITE_SIZE ? 4 : 2, impl->name);
}

static bool spaces_wanted(const struct suite *suite, const struct bench_impl *impl, const char *const names[3])
{
	return impl->alloc && tasks_wanted(suite, names, 3, impl->name);
}

static void clips_of(struct suite *suite, size_t n)
{
	struct subject subjects[SUITE_IMPLS];
	struct task pairs[2 * SUITE_IMPLS], apart[SUITE_IMPLS];
	struct layout layout;
	size_t nsubjects = 0, npairs = 0, napart = 0;
	bool judged = n == SUITE_SIZE;
	size_t draws = n < DRAWS ? DRAWS : n;
	bool any = false;

	for (size_t i = 0; i < suite->nimpls && !any; i++)
		any = clips_wanted(suite, suite->impls[i], n);
	if (!any)
		return;
	layout_make(&layout, n, suite->seed);

	uint64_t *middles = layout_middles(&layout, 0, n, draws, suite->seed + 3);
	uint64_t *addrs = layout_addresses(&layout, 0, n, TASK_ADDRESSES, suite->seed + 2, NULL);

	for (size_t i = 0; i < suite->nimpls; i++) {
		if (!clips_wanted(suite, suite->impls[i], n))
			continue;

		struct subject *subject = &subjects[nsubjects++];

		*subject = subject_open(suite, suite->impls[i], &layout, false);

		struct task pair = {
			.workload = { "clip", subject->impl->counters ? "clip-copies" : NULL },
			.subject = subject,
			.base = judged && !subject->impl->peer ? "clip-lookup" : NULL,
			.run = run_clip_pair,
			.addrs = middles,
			.n = draws,
			.size = n,
		};
		struct task turns = pair;

		turns.base = NULL;
		turns.workload[0] = NULL;
		turns.workload[1] = "clip-alone";
		turns.workload[2] = "unclip-alone";
		turns.run = run_clip_apart;
		tasks_add_lookup(pairs, &npairs, &pair, addrs);
		tasks_add(suite, pairs, &npairs, &pair);
		if (judged)
			tasks_add(suite, apart, &napart, &turns);
	}
	tasks_run(suite, pairs, npairs);
	tasks_run(suite, apart, napart);
	tasks_report(suite, pairs, npairs, 0, "ns", judged ? 3 : 0);
	tasks_report(suite, pairs, npairs, 1, "%", judged ? 10 : 0);
	tasks_report(suite, apart, napart, 1, "ns", 0);
	tasks_report(suite, apart, napart, 2, "ns", 0);
	for (size_t i = 0; i < nsubjects; i++)
		subject_close(&subjects[i]);
	free(middles);
	free(addrs);
	layout_free(&layout);
}

static void remaps(struct suite *suite)
{
	struct subject subjects[SUITE_IMPLS];
	struct task tasks[2 * SUITE_IMPLS];
	struct layout layout;
	size_t nsubjects = 0, ntasks = 0;

	layout_make(&layout, SUITE_SIZE, suite->seed);

	struct cleave_entry *entries = layout_drawn(&layout, 0, layout.n, DRAWS, suite->seed + 4);
	uint64_t *addrs = layout_addresses(&layout, 0, layout.n, TASK_ADDRESSES, suite->seed + 2, NULL);

	for (size_t i = 0; i < suite->nimpls; i++) {
		struct task task = {
			.workload = { "map+unmap", "unmap", "map", "map+unmap-copies" },
			.subject = &subjects[nsubjects],
			.base = suite->impls[i]->peer ? NULL : "map+unmap-lookup",
			.run = run_remap,
			.entries = entries,
			.n = DRAWS,
			.size = layout.n,
		};

		if (!suite->impls[i]->counters)
			task.workload[3] = NULL;
		if (!suite->impls[i]->insert || !suite->impls[i]->erase ||
		    !tasks_wanted(suite, task.workload, TASK_OUTPUTS, suite->impls[i]->name))
			continue;
		subjects[nsubjects++] = subject_open(suite, suite->impls[i], &layout, false);
		tasks_add_lookup(tasks, &ntasks, &task, addrs);
		tasks[ntasks++] = task;
	}
	tasks_run(suite, tasks, ntasks);
	tasks_report(suite, tasks, ntasks, 0, "ns", 8);
	tasks_report(suite, tasks, ntasks, 1, "ns", 0);
	tasks_report(suite, tasks, ntasks, 2, "ns", 0);
	tasks_report(suite, tasks, ntasks, 3, "%", 0);
	for (size_t i = 0; i < nsubjects; i++)
		subject_close(&subjects[i]);
	free(entries);
	free(addrs);
	layout_free(&layout);
}

static void cuts(struct suite *suite)
{
	struct subject subjects[SUITE_IMPLS];
	struct task tasks[SUITE_IMPLS];
	struct layout layout;
	size_t nsubjects = 0, ntasks = 0;
	size_t count = CUT_SIZE / CUT_PIECE - 1;
	struct cleave_entry whole = { .first = LAYOUT_TOP, .last = LAYOUT_TOP + CUT_SIZE - 1, .value = &whole };
	uint64_t *addrs = need(calloc(count, sizeof(*addrs)));

	for (size_t i = 0; i < count; i++)
		addrs[i] = whole.first + (i + 1) * CUT_PIECE;
	layout_make(&layout, SUITE_SIZE, suite->seed);
	for (size_t i = 0; i < suite->nimpls; i++) {
		struct task task = {
			.workload = { "cut", "rejoin", "cut-bytes", "cut-copies" },
			.subject = &subjects[nsubjects],
			.run = run_cut,
			.addrs = addrs,
			.entries = &whole,
			.n = count,
			.size = layout.n,
			.fixed = 1,
		};

		if (!suite->impls[i]->counters)
			task.workload[3] = NULL;
		if (!suite->impls[i]->clip || !suite->impls[i]->store || !suite->impls[i]->size ||
		    (suite->impls[i]->largest && suite->impls[i]->largest < count) ||
		    !tasks_wanted(suite, task.workload, TASK_OUTPUTS, suite->impls[i]->name))
			continue;
		subjects[nsubjects++] = subject_open(suite, suite->impls[i], &layout, false);
		tasks[ntasks++] = task;
	}
	tasks_run(suite, tasks, ntasks);
	tasks_report(suite, tasks, ntasks, 0, "ns", 0);
	tasks_report(suite, tasks, ntasks, 1, "ns", 0);
	tasks_report(suite, tasks, ntasks, 2, "B", 0);
	tasks_report(suite, tasks, ntasks, 3, "%", 0);
	for (size_t i = 0; i < nsubjects; i++)
		subject_close(&subjects[i]);
	free(addrs);
	layout_free(&layout);
}

void suite_changes(struct suite *suite)
{
	for (size_t i = 0; i < sizeof(task_sizes) / sizeof(task_sizes[0]); i++)
		clips_of(suite, task_sizes[i]);
	remaps(suite);
	cuts(suite);
}

/* ---- Free space ---- */

/* Pieces of 1 to 8 pages: between all entries, or on one side of a random place. */
static struct cleave_request *make_requests(const struct suite *suite, const struct layout *layout,
					    enum cleave_order order, bool anywhere)
{
	size_t n = DRAWS;
	struct rng rng = { suite->seed + 5 };
	struct cleave_request *requests = need(calloc(n, sizeof(*requests)));
	uint64_t *places = layout_addresses(layout, 0, layout->n, n, suite->seed + 6, NULL);

	for (size_t i = 0; i < n; i++) {
		requests[i] = (struct cleave_request){
			.order = order,
			.size = LAYOUT_PAGE * (1 + rng_below(&rng, 8)),
			.align = LAYOUT_PAGE,
			.min = layout->entries[0].first,
			.max = layout->entries[layout->n - 1].last,
		};
		if (anywhere) {
			requests[i].min = order == CLEAVE_LOWEST ? places[i] : 0;
			requests[i].max = order == CLEAVE_LOWEST ? LAYOUT_TOP - 1 : places[i];
		}
	}
	free(places);
	return requests;
}

struct space {
	const char *alloc;
	const char *release;
	const char *find;
	const char *lookup;
	enum cleave_order order;
	bool anywhere;
};

void suite_spaces(struct suite *suite)
{
	static const struct space spaces[] = {
		{ "alloc-lowest", "free-lowest", "find-lowest", "alloc-lowest-lookup", CLEAVE_LOWEST, false },
		{ "alloc-highest", "free-highest", "find-highest", "alloc-highest-lookup", CLEAVE_HIGHEST, false },
		{ "alloc-above", "free-above", "find-above", "alloc-above-lookup", CLEAVE_LOWEST, true },
		{ "alloc-below", "free-below", "find-below", "alloc-below-lookup", CLEAVE_HIGHEST, true },
	};
	struct layout layout;

	layout_make(&layout, SUITE_SIZE, suite->seed);

	uint64_t *addrs = layout_addresses(&layout, 0, layout.n, TASK_ADDRESSES, suite->seed + 2, NULL);

	for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
		const char *const names[] = { spaces[i].alloc, spaces[i].release, spaces[i].find };
		bool any = false;

		for (size_t j = 0; j < suite->nimpls && !any; j++)
			any = spaces_wanted(suite, suite->impls[j], names);
		if (!any)
			continue;

		struct cleave_request *requests = make_requests(suite, &layout, spaces[i].order, spaces[i].anywhere);
		struct subject subjects[SUITE_IMPLS];
		struct task taking[2 * SUITE_IMPLS], finds[SUITE_IMPLS];
		size_t nsubjects = 0, nallocs = 0, nfinds = 0;

		for (size_t j = 0; j < suite->nimpls; j++) {
			if (!spaces_wanted(suite, suite->impls[j], names))
				continue;

			struct subject *subject = &subjects[nsubjects++];

			*subject = subject_open(suite, suite->impls[j], &layout, false);

			struct task alloc = {
				.workload = { NULL, spaces[i].alloc, spaces[i].release },
				.subject = subject,
				.base = subject->impl->peer ? NULL : spaces[i].lookup,
				.run = run_alloc,
				.requests = requests,
				.n = DRAWS,
				.size = layout.n,
			};
			struct task find = alloc;

			find.base = NULL;
			find.workload[0] = spaces[i].find;
			find.workload[1] = NULL;
			find.workload[2] = NULL;
			find.run = run_find;
			tasks_add_lookup(taking, &nallocs, &alloc, addrs);
			tasks_add(suite, taking, &nallocs, &alloc);
			tasks_add(suite, finds, &nfinds, &find);
		}
		tasks_run(suite, finds, nfinds);
		tasks_run(suite, taking, nallocs);
		tasks_report(suite, finds, nfinds, 0, "ns", 0);
		tasks_report(suite, taking, nallocs, 0, "ns", 0);
		tasks_report(suite, taking, nallocs, 1, "ns", 6);
		tasks_report(suite, taking, nallocs, 2, "ns", 0);
		for (size_t j = 0; j < nsubjects; j++)
			subject_close(&subjects[j]);
		free(requests);
	}
	free(addrs);
	layout_free(&layout);
}
