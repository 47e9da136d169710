/* SPDX-License-Identifier: ISC */
#include "report.h"

#include "../../tools/program.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *const kinds[MIRROR_KINDS] = MIRROR_KIND_NAMES;

#define LOAD(word) __atomic_load_n(&(word), __ATOMIC_RELAXED)

static double seconds_since(uint64_t begun)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec - 1e-9 * (double)begun;
}

static void add(struct totals *totals, const struct mirror_process *process)
{
	struct mirror_process *sum = &totals->sum;

	for (unsigned int i = 0; i < MIRROR_KINDS; i++) {
		sum->calls[i] += LOAD(process->calls[i]);
		sum->failures[i] += LOAD(process->failures[i]);
		totals->calls += LOAD(process->calls[i]);
	}
	sum->windows += LOAD(process->windows);
	sum->entries += LOAD(process->entries);
	sum->passes += LOAD(process->passes);
	sum->growths += LOAD(process->growths);
	sum->settled += LOAD(process->settled);
	sum->disagreements += LOAD(process->disagreements);
	sum->lasting += LOAD(process->lasting);
	sum->verified += LOAD(process->verified);
	sum->trouble += LOAD(process->trouble);
	for (unsigned int i = 0; i < MIRROR_CATCHES; i++) {
		const struct mirror_catch *caught = &process->caught[i];
		double seconds;

		if (__atomic_load_n(&caught->state, __ATOMIC_ACQUIRE) != 2)
			continue;
		seconds = 1e-9 * (double)caught->when;
		if (totals->text[i] && seconds >= totals->caught[i])
			continue;
		totals->caught[i] = seconds;
		totals->text[i] = caught->text;
	}
	if (LOAD(process->trouble) && !totals->trouble_text)
		totals->trouble_text = process->trouble_text;
}

void report_sum(const struct mirror_shared *shared, struct totals *totals)
{
	uint32_t n = LOAD(shared->nprocesses);

	memset(totals, 0, sizeof(*totals));
	totals->seconds = seconds_since(shared->begun);
	totals->processes = n;
	for (uint32_t i = 0; i < n && i < MIRROR_PROCESSES; i++)
		add(totals, &shared->processes[i]);
}

void report_progress(const struct totals *totals)
{
	if (!program_progress_due(stderr))
		return;
	program_progress(stderr,
			 "%7.1f s: %" PRIu64 " disagreements, %" PRIu32 " images, %" PRIu64 " calls, %" PRIu64
			 " windows compared",
			 totals->seconds, totals->sum.disagreements, totals->processes, totals->calls,
			 totals->sum.windows);
}

static void program_line(const struct totals *totals)
{
	int status = totals->program_status;

	if (totals->ended)
		printf("%s: ended by cleave-mirror", totals->program);
	else if (WIFSIGNALED(status))
		printf("%s: killed by signal %d (%s)", totals->program, WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		printf("%s: exit status %d", totals->program, WEXITSTATUS(status));
	printf(" after %.1f s, %" PRIu32 " images\n", totals->seconds, totals->processes);
}

void report_table(const struct totals *totals)
{
	const struct mirror_process *sum = &totals->sum;

	program_progress_over(stderr);
	printf("\n");
	program_line(totals);
	printf("\n  %-16s %12s %12s\n", "call", "made", "refused");
	for (unsigned int i = 0; i < MIRROR_KINDS; i++)
		if (sum->calls[i])
			printf("  %-16s %12" PRIu64 " %12" PRIu64 "\n", kinds[i], sum->calls[i], sum->failures[i]);
	printf("  %-16s %12" PRIu64 "\n\n", "all", totals->calls);
	printf("  order             %s\n", totals->naive ? "naive: the call, then the update under a lock"
							 : "begin on the range, the call, commit");
	printf("  windows compared  %" PRIu64 ", with %" PRIu64 " entries, in %" PRIu64 " passes\n", sum->windows,
	       sum->entries, sum->passes);
	printf("  stacks grown      %" PRIu64 "\n", sum->growths);
	printf("  read back         %" PRIu64 "\n", sum->settled);
	printf("  disagreements     %" PRIu64 ", %" PRIu64 " of them lasting\n", sum->disagreements, sum->lasting);
	for (unsigned int i = 0; i < MIRROR_CATCHES; i++)
		if (totals->text[i])
			printf("  the first %s after %.3f s: %s\n", i == MIRROR_FIRST ? "       " : "lasting",
			       totals->caught[i], totals->text[i]);
	printf("  maps verified     %" PRIu64 "\n", sum->verified);
	if (totals->trouble_text)
		printf("  trouble           %" PRIu64 ", first: %s\n", sum->trouble, totals->trouble_text);
	if (totals->problem)
		printf("  not mirrored      %s\n", totals->problem);
	fflush(stdout);
}

static void json_count(FILE *file, const char *name, uint64_t value)
{
	fprintf(file, "  \"%s\": %" PRIu64 ",\n", name, value);
}

bool report_json(const struct totals *totals, const char *path)
{
	FILE *file = program_open(path);
	const struct mirror_process *sum = &totals->sum;
	int status = totals->program_status;

	if (!file)
		return false;
	fprintf(file, "{\n  \"program\": ");
	program_json_string(file, totals->program);
	fprintf(file, ",\n  \"order\": \"%s\",\n  \"seconds\": %.3f,\n", totals->naive ? "naive" : "transaction",
		totals->seconds);
	fprintf(file, "  \"exit_status\": %d,\n  \"signal\": %d,\n  \"ended\": %s,\n",
		WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0,
		totals->ended ? "true" : "false");
	json_count(file, "images", totals->processes);
	fprintf(file, "  \"calls\": {");
	for (unsigned int i = 0; i < MIRROR_KINDS; i++)
		fprintf(file, "%s\"%s\": %" PRIu64, i ? ", " : " ", kinds[i], sum->calls[i]);
	fprintf(file, " },\n");
	json_count(file, "calls_made", totals->calls);
	json_count(file, "windows", sum->windows);
	json_count(file, "entries", sum->entries);
	json_count(file, "passes", sum->passes);
	json_count(file, "stacks_grown", sum->growths);
	json_count(file, "read_back", sum->settled);
	json_count(file, "maps_verified", sum->verified);
	json_count(file, "trouble", sum->trouble);
	json_count(file, "lasting", sum->lasting);
	for (unsigned int i = 0; i < MIRROR_CATCHES; i++) {
		const char *name = i == MIRROR_FIRST ? "first" : "first_lasting";

		if (!totals->text[i])
			continue;
		fprintf(file, "  \"%s_after\": %.3f,\n  \"%s\": ", name, totals->caught[i], name);
		program_json_string(file, totals->text[i]);
		fprintf(file, ",\n");
	}
	fprintf(file, "  \"disagreements\": %" PRIu64 "\n}\n", sum->disagreements);
	return program_close(file, path);
}
