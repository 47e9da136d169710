/* SPDX-License-Identifier: ISC */
/*
 * cleave-bench-lines: which locks an operation takes and which cache lines it writes, by level, where others may want
 * them.  The library is compiled on a port that reports every write to a shared word or cell; plain writes are to a
 * node's header, beside its lock, to nodes that nobody else can reach yet, and to the thread's own record.
 *
 * A line counts if it is of a node that was in the index before the operation, of the index itself or of its domain.
 * (Nodes that an operation makes are written, too; nobody else has them in his cache.)
 */
#include "walk.h"

#include "../../tools/program.h"
#include "../layout.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPERATIONS 4000
#define LEVELS 6 /* of nodes; then the index and the domain */
#define INDEX LEVELS
#define DOMAIN (LEVELS + 1)
#define WHERES (LEVELS + 2)
#define LINES 64 /* of one operation, at most */
#define ENTRIES 50000u	 /* at most */
#define NODES (1u << 14) /* more than twice what so many entries take */

struct cost {
	uint64_t locks[WHERES];
	uint64_t lines[WHERES];
	uint64_t operations;
};

static struct cleave_domain domain __attribute__((aligned(64)));
static struct cleave tree __attribute__((aligned(64)));
static struct cleave_thread self;

/* ---- Nodes by address: an open hash table ---- */

static uint64_t node_at[NODES]; /* address, with its level in the low bits; 0: free */
static size_t nodes_of[LEVELS];

static size_t slot_of(uint64_t address)
{
	size_t slot = (size_t)(address >> 6) * 0x9e3779b97f4a7c15 >> 50 & (NODES - 1);

	while (node_at[slot] && (node_at[slot] & ~UINT64_C(63)) != address)
		slot = (slot + 1) & (NODES - 1);
	return slot;
}

static void gather(const struct cleave__node *node, unsigned int level)
{
	uint64_t address = (uint64_t)(uintptr_t)node;

	node_at[slot_of(address)] = address | level;
	nodes_of[level]++;
	if (level == 0)
		return;

	const struct cleave__branch *branch = cleave__branch_const(node);

	for (unsigned int i = 0; i < node->count; i++)
		gather((const struct cleave__node *)(uintptr_t)branch->child[i].word, level - 1);
}

static void gather_all(void)
{
	memset(node_at, 0, sizeof(node_at));
	memset(nodes_of, 0, sizeof(nodes_of));
	gather(cleave__root_node(tree.root.word), cleave__root_level(tree.root.word));
}

/* ---- What an operation writes ---- */

static bool noting;
static struct {
	uint64_t line;
	bool lock;
} written[LINES];
static unsigned int nwritten;

void lines_note(const void *word, enum lines_write write)
{
	uint64_t line = (uint64_t)(uintptr_t)word & ~UINT64_C(63);
	unsigned int i = 0;

	if (!noting)
		return;
	while (i < nwritten && written[i].line != line)
		i++;
	if (i == LINES)
		return;
	if (i == nwritten)
		written[nwritten++].lock = false;
	written[i].line = line;
	if (write == LINES_LOCK)
		written[i].lock = true;
}

/* Of which level the node is that a line belongs to; WHERES: of none that others see. */
static unsigned int where(uint64_t line)
{
	if (line - (uint64_t)(uintptr_t)&tree < sizeof(tree))
		return INDEX;
	if (line - (uint64_t)(uintptr_t)&domain < sizeof(domain))
		return DOMAIN;
	for (unsigned int back = 0; back < sizeof(struct cleave__branch) / 64; back++) {
		uint64_t found = node_at[slot_of(line - 64 * back)];

		if (found)
			return (found & 63) || back < sizeof(struct cleave__leaf) / 64 ? (unsigned int)(found & 63)
										       : WHERES;
	}
	return WHERES;
}

static void begin(void)
{
	nwritten = 0;
	noting = true;
}

static void end(struct cost *cost)
{
	noting = false;
	for (unsigned int i = 0; i < nwritten; i++) {
		unsigned int at = where(written[i].line);

		if (at == WHERES)
			continue;
		cost->lines[at]++;
		cost->locks[at] += written[i].lock;
	}
	cost->operations++;
}

/* ---- A domain of one thread: what it retires may be reused soon ---- */

static uint64_t begun;

static uint64_t cookie(struct cleave_domain *at, struct cleave_thread *thread)
{
	(void)at;
	(void)thread;
	return ++begun;
}

/* A grace period lasts as long as some operations. */
static bool done(struct cleave_domain *at, struct cleave_thread *thread, uint64_t token)
{
	(void)at;
	(void)thread;
	return token + 16 < begun++;
}

static void nothing(struct cleave_domain *at, struct cleave_thread *thread)
{
	(void)at;
	(void)thread;
}

static void nothing_with(struct cleave_domain *at, struct cleave_thread *thread, uint64_t token)
{
	(void)at;
	(void)thread;
	(void)token;
}

static int inside(struct cleave_domain *at, struct cleave_thread *thread)
{
	(void)at;
	(void)thread;
	return -1;
}

static void park(struct cleave_domain *at, struct cleave_thread *thread, struct cleave_word32 *count, uint32_t seen)
{
	(void)at;
	(void)thread;
	(void)count;
	(void)seen;
	abort(); /* there is one thread */
}

static void wake(struct cleave_domain *at, struct cleave_word32 *count)
{
	(void)at;
	(void)count;
}

static const struct cleave_ops ops = {
	.cookie = cookie,
	.cookie_stored = cookie,
	.done = done,
	.advance = nothing_with,
	.wait = nothing_with,
	.enter = nothing,
	.leave = nothing,
	.inside = inside,
	.park = park,
	.wake = wake,
};

static void *allocate(const struct cleave_memory *memory, size_t size, size_t align)
{
	(void)memory;
	return aligned_alloc(align, (size + align - 1) & ~(align - 1));
}

static void give_back(const struct cleave_memory *memory, void *node, size_t size)
{
	(void)memory;
	(void)size;
	free(node);
}

static const struct cleave_memory memory = { allocate, give_back };

/* ---- The operations ---- */

static void must(int error, const char *what)
{
	if (error) {
		fprintf(stderr, "cleave-bench-lines: %s: %d\n", what, error);
		exit(1);
	}
}

enum { LOOKUP, CLIP, UNCLIP, UNMAP, MAP, ALLOC, RELEASE, KINDS };

static const char *const names[KINDS] = { "lookup", "clip", "unclip", "unmap", "map", "alloc", "release" };

static void count_all(struct cost costs[KINDS], const struct layout *layout, uint64_t *middles,
		      const struct cleave_entry *drawn)
{
	for (size_t i = 0; i < OPERATIONS; i++) {
		const struct cleave_entry *entry = &drawn[i];
		/* Above a random place, so that not all want the same leaf. */
		struct cleave_request request = { .order = CLEAVE_LOWEST,
						  .size = LAYOUT_PAGE,
						  .align = LAYOUT_PAGE,
						  .min = entry->first,
						  .max = LAYOUT_TOP };
		struct cleave_entry found;
		uint64_t place;

#define COUNT(kind, call)          \
	do {                       \
		gather_all();      \
		begin();           \
		(call);            \
		end(&costs[kind]); \
	} while (0)
		COUNT(LOOKUP, cleave_lookup_rcu(&tree, middles[i], &found));
		COUNT(CLIP, must(cleave_clip(&tree, &self, middles[i]), "clip"));
		COUNT(UNCLIP, must(cleave_unclip(&tree, &self, middles[i]), "unclip"));
		COUNT(UNMAP, must(cleave_erase(&tree, &self, entry->first, entry->last, NULL), "erase"));
		COUNT(MAP, must(cleave_insert(&tree, &self, entry->first, entry->last, entry->value, NULL), "insert"));
		COUNT(ALLOC,
		      must(cleave_alloc(&tree, &self, &request, (void *)(uintptr_t)entry->value, &place), "alloc"));
		COUNT(RELEASE, must(cleave_erase(&tree, &self, place, place + LAYOUT_PAGE - 1, NULL), "erase"));
	}
	(void)layout;
}

static void print_table(const struct cost costs[KINDS], size_t entries)
{
	printf("%zu entries; nodes by level:", entries);
	for (unsigned int level = 0; level < LEVELS && nodes_of[level]; level++)
		printf(" %zu", nodes_of[level]);
	printf("\n%-8s  %-52s %s\n", "", "locks: leaf, branches by level, index, domain", "lines written");
	for (unsigned int kind = 0; kind < KINDS; kind++) {
		const uint64_t *sums[2] = { costs[kind].locks, costs[kind].lines };

		printf("%-8s", names[kind]);
		for (unsigned int which = 0; which < 2; which++) {
			for (unsigned int at = 0; at < WHERES; at++)
				if (at >= LEVELS || nodes_of[at])
					printf(" %8.4f", (double)sums[which][at] / (double)costs[kind].operations);
			printf("   ");
		}
		printf("\n");
	}
}

static bool write_json(const char *path, const struct cost costs[KINDS], size_t entries)
{
	FILE *file = program_open(path);

	if (!file)
		return false;
	fprintf(file, "{\n\t\"entries\": %zu,\n\t\"nodes\": [", entries);
	for (unsigned int level = 0; level < LEVELS; level++)
		fprintf(file, "%s%zu", level ? ", " : "", nodes_of[level]);
	fprintf(file, "],\n\t\"operations\": [");
	for (unsigned int kind = 0; kind < KINDS; kind++) {
		const uint64_t *sums[2] = { costs[kind].locks, costs[kind].lines };

		fprintf(file, "%s\n\t\t{ \"operation\": \"%s\"", kind ? "," : "", names[kind]);
		for (unsigned int which = 0; which < 2; which++) {
			fprintf(file, ", \"%s\": [", which ? "lines" : "locks");
			for (unsigned int at = 0; at < WHERES; at++)
				fprintf(file, "%s%.5f", at ? ", " : "",
					(double)sums[which][at] / (double)costs[kind].operations);
			fprintf(file, "]");
		}
		fprintf(file, " }");
	}
	fprintf(file, "\n\t]\n}\n");
	return program_close(file, path);
}

/* A change that takes no lock would mean that nothing was seen. */
static bool plausible(const struct cost costs[KINDS])
{
	for (unsigned int kind = CLIP; kind < KINDS; kind++)
		if (costs[kind].locks[0] < costs[kind].operations || costs[LOOKUP].lines[0]) {
			printf("FAILED: %s: %llu locks of leaves\n", names[kind],
			       (unsigned long long)costs[kind].locks[0]);
			return false;
		}
	return true;
}

static const char help[] =
	"usage: cleave-bench-lines [options]\n"
	"\n"
	"Count which locks an operation takes and which cache lines it writes, by level of the tree.\n"
	"\n"
	"  --entries N    of the index (6849)\n"
	"  --json FILE    write it for a machine, too; - for standard output\n"
	"  --help         this text\n"
	"\n"
	"Example:\n"
	"  cleave-bench-lines --entries 1000 --json lines.json\n"
	"\n"
	"Exit status: 0; 1: nothing was counted; 2: wrong usage, or FILE cannot be written.\n";

/* Return: where JSON is wanted, or NULL. */
static const char *parse(size_t *entries, int argc, char **argv)
{
	static const struct option options[] = {
		{ "entries", required_argument, NULL, 'n' },
		{ "json", required_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *json = NULL;
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (option) {
		case 'n':
			*entries = program_number("entries", optarg, 2 * LAYOUT_APART, ENTRIES);
			break;
		case 'j':
			json = program_output(optarg);
			break;
		case 'h':
			program_help(help);
		default:
			program_wrong("%s", "");
		}
	}
	if (optind < argc)
		program_wrong("what is %s?", argv[optind]);
	return json;
}

int main(int argc, char **argv)
{
	size_t entries = 6849;
	struct cost costs[KINDS] = { { .operations = 0 } };
	struct cleave_entry *order, *drawn;
	struct layout layout;
	uint64_t *middles;
	const char *json;
	int status;

	program_begin(argv);
	json = parse(&entries, argc, argv);
	layout_make(&layout, entries, 42);
	order = layout_shuffled(&layout, 43);
	drawn = layout_drawn(&layout, 0, layout.n, OPERATIONS, 44);
	middles = layout_middles(&layout, 0, layout.n, OPERATIONS, 45);
	cleave_domain_init(&domain, &ops, &memory, NULL, UINT64_MAX / 2);
	cleave_thread_init(&self, &domain);
	must(cleave_init(&tree, &self), "init");
	for (size_t i = 0; i < layout.n; i++)
		must(cleave_insert(&tree, &self, order[i].first, order[i].last, order[i].value, NULL), "insert");
	count_all(costs, &layout, middles, drawn);
	gather_all();
	print_table(costs, entries);
	status = plausible(costs) ? 0 : 1;
	if (json && !write_json(json, costs, entries) && !status)
		status = PROGRAM_WRONG;
	cleave_destroy(&tree, &self);
	cleave_thread_exit(&self);
	cleave_domain_exit(&domain);
	free(order);
	free(drawn);
	free(middles);
	layout_free(&layout);
	return program_end(status);
}
