/* SPDX-License-Identifier: ISC */
#include "task.h"
#include "pace.h"

#include <stdio.h>
#include <string.h>

const size_t task_sizes[4] = { 1000, SUITE_SIZE, 100000, 1000000 };

struct subject subject_open(const struct suite *suite, const struct bench_impl *impl, const struct layout *layout,
			    bool dense)
{
	struct subject subject = { .impl = impl, .index = suite_make(suite, impl, layout, dense) };

	subject.thread = impl->attach(subject.index);
	if (impl->offline)
		impl->offline(subject.thread);
	return subject;
}

void subject_close(struct subject *subject)
{
	if (subject->impl->online)
		subject->impl->online(subject->thread);
	if (subject->impl->detach)
		subject->impl->detach(subject->thread);
	subject->impl->destroy(subject->index);
}

size_t task_take(struct task *task, size_t *count)
{
	size_t at = task->at;

	if (*count > task->n - at)
		*count = task->n - at;
	task->at = at + *count == task->n ? 0 : at + *count;
	return at;
}

static double run_task(struct task *task, size_t ops, double *out)
{
	const struct bench_impl *impl = task->subject->impl;

	if (impl->online)
		impl->online(task->subject->thread);

	double seconds = task->run(task, ops, out);

	if (impl->offline)
		impl->offline(task->subject->thread);
	return seconds;
}

/* Return: the seconds of the fastest pass. */
static double settle(struct task *task, size_t ops)
{
	struct steady steady = { .passes = 0 };
	double out[TASK_OUTPUTS];

	task->timed = false;
	while (steady_pass(&steady, run_task(task, ops, out)))
		;
	task->timed = true;
	return steady.fastest;
}

/* How many operations fill a repetition, in the steady state. */
static size_t fitting(const struct suite *suite, struct task *task)
{
	size_t ops = TASK_READS;
	double seconds;

	if (task->fixed)
		return task->fixed;
	while ((seconds = settle(task, ops)) < suite->seconds / 2)
		ops *= 2;
	return (size_t)((double)ops * suite->seconds / seconds) / TASK_READS * TASK_READS + TASK_READS;
}

void tasks_run(const struct suite *suite, struct task *tasks, size_t n)
{
	const unsigned int rounds = samples_rounds();
	double out[TASK_OUTPUTS];

	for (size_t i = 0; i < n; i++) {
		for (unsigned int j = 0; j < TASK_OUTPUTS; j++)
			tasks[i].samples[j].rounds = rounds;
		tasks[i].ops = fitting(suite, &tasks[i]);
	}
	for (unsigned int round = 0; round < suite->repetitions; round++) {
		for (size_t i = 0; i < n; i++) {
			struct task *task = &tasks[i];

			struct pace pace;

			do {
				pace_begin(&pace);
				settle(task, task->ops);
				memset(out, 0, sizeof(out));
				pace_mark(&pace);
				run_task(task, task->ops, out);
			} while (!pace_end(&pace));
			for (unsigned int j = 0; j < TASK_OUTPUTS; j++)
				samples_add_paced(&task->samples[j], out[j], pace.full);
		}
	}
	for (size_t i = 0; i < n; i++)
		if (tasks[i].failed)
			printf("%s/%s: %zu operations failed\n", tasks[i].workload[0], tasks[i].subject->impl->name,
			       tasks[i].failed);
}

struct row task_row(const struct task *task, unsigned int output, const char *unit)
{
	return (struct row){
		.workload = task->workload[output],
		.impl = task->subject->impl->name,
		.n = task->size,
		.threads = 1,
		.unit = unit,
		.samples = task->samples[output],
	};
}

uint64_t task_copies(const struct task *task)
{
	struct bench_counters counters = { .copies = 0 };

	if (task->subject->impl->counters)
		task->subject->impl->counters(task->subject->thread, &counters);
	return counters.copies;
}

void tasks_report(struct suite *suite, const struct task *tasks, size_t ntasks, unsigned int output, const char *unit,
		  double target)
{
	for (size_t i = 0; i < ntasks; i++) {
		bool beside = tasks[i].run == task_lookup;

		if (!tasks[i].workload[output] ||
		    (!beside && !suite_wants(suite, tasks[i].workload[output], tasks[i].subject->impl->name)))
			continue;

		struct row row = task_row(&tasks[i], output, unit);
		const struct row *base = NULL;

		if (tasks[i].subject->impl->peer) {
			suite_report_peer(suite, &row);
			continue;
		}
		row.target = beside ? 0 : target;
		if (!strcmp(unit, "ns")) {
			row.base = tasks[i].base ? tasks[i].base : "lookup";
			base = report_find(&suite->report, row.base, row.impl, row.n);
		}
		suite_report(suite, &row, base);
	}
}

bool tasks_wanted(const struct suite *suite, const char *const *workloads, unsigned int n, const char *impl)
{
	for (unsigned int i = 0; i < n; i++)
		if (workloads[i] && suite_wants(suite, workloads[i], impl))
			return true;
	return false;
}

void tasks_add_lookup(struct task *tasks, size_t *n, const struct task *judged, const uint64_t *addrs)
{
	if (!judged->base)
		return;
	tasks[(*n)++] = (struct task){
		.workload = { judged->base },
		.subject = judged->subject,
		.run = task_lookup,
		.addrs = addrs,
		.n = TASK_ADDRESSES,
		.size = judged->size,
	};
}

void tasks_add(const struct suite *suite, struct task *tasks, size_t *n, const struct task *task)
{
	if (tasks_wanted(suite, task->workload, TASK_OUTPUTS, task->subject->impl->name))
		tasks[(*n)++] = *task;
}
