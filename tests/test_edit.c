/* SPDX-License-Identifier: ISC */
/*
 * Edits of one leaf, with each walk that this processor has: every arrangement of eight neighbouring pages, repeated
 * over several leaves, and each page of it cut, erased, put back, and each gap filled from either end.
 */
#include "support.h"

#define PAGES 48u
#define PAGE 4096u
#define BASE UINT64_C(0x7f0000000000)
#define PATTERN 8u /* pages */

struct table {
	struct manual_domain manual;
	struct cleave index;
	void *value[PAGES]; /* what each page holds; no two the same, but NULL */
};

/* The one entry that an erasure hands back. */
struct receiver {
	struct cleave_sink sink;
	struct cleave_entry entry;
	unsigned int count;
};

static void receive(struct cleave_sink *sink, const struct cleave_entry *displaced)
{
	struct receiver *receiver = (struct receiver *)(void *)sink;

	receiver->entry = *displaced;
	receiver->count++;
}

static uint64_t first_of(unsigned int page)
{
	return BASE + (uint64_t)page * PAGE;
}

static uint64_t last_of(unsigned int page)
{
	return first_of(page) + PAGE - 1;
}

/* Every page is what the table says, from its first address to its last. */
static void compare(struct table *table, const char *after, unsigned int page)
{
	check_context("%s of page %u", after, page);
	check_index(&table->index);
	manual_enter(&table->manual);
	for (unsigned int i = 0; i < PAGES; i++) {
		struct cleave_entry entry;

		for (uint64_t addr = first_of(i); addr <= last_of(i); addr += PAGE - 1) {
			void *value = cleave_lookup_rcu(&table->index, addr, &entry);

			CHECK(value == table->value[i], "page %u", i);
			CHECK(!value || (entry.first == first_of(i) && entry.last == last_of(i)),
			      "range of page %u", i);
		}
	}
	manual_leave(&table->manual);
}

static void insert(struct table *table, unsigned int page, void *value)
{
	struct cleave_entry conflict;

	CHECK(cleave_insert(&table->index, &table->manual.self, first_of(page), last_of(page), value, &conflict) == 0,
	      "insert page %u", page);
	table->value[page] = value;
	compare(table, "insertion", page);
}

static void erase(struct table *table, unsigned int page)
{
	struct receiver receiver = { .sink = { .each = receive } };

	CHECK(cleave_erase(&table->index, &table->manual.self, first_of(page), last_of(page), &receiver.sink) == 0,
	      "erase page %u", page);
	CHECK(receiver.count == 1 && receiver.entry.value == table->value[page] &&
		      receiver.entry.first == first_of(page) && receiver.entry.last == last_of(page),
	      "what was displaced, page %u", page);
	table->value[page] = NULL;
	compare(table, "erasure", page);
}

static void cut_and_join(struct table *table, unsigned int page)
{
	uint64_t middle = first_of(page) + PAGE / 2;
	struct cleave_entry entry;

	CHECK(cleave_clip(&table->index, &table->manual.self, middle) == 0, "clip page %u", page);
	manual_enter(&table->manual);
	CHECK(cleave_lookup_rcu(&table->index, middle, &entry) == table->value[page] && entry.first == middle &&
		      entry.last == last_of(page),
	      "upper half of page %u", page);
	CHECK(cleave_lookup_rcu(&table->index, middle - 1, &entry) == table->value[page] &&
		      entry.first == first_of(page) && entry.last == middle - 1,
	      "lower half of page %u", page);
	manual_leave(&table->manual);
	check_index(&table->index);
	CHECK(cleave_unclip(&table->index, &table->manual.self, middle) == 0, "unclip page %u", page);
	compare(table, "cutting", page);
}

static void refuse(struct table *table, unsigned int page)
{
	struct cleave_thread *self = &table->manual.self;
	bool used = table->value[page] != NULL;

	CHECK(cleave_clip(&table->index, self, first_of(page)) == (used ? 0 : -ENOENT),
	      "clip where page %u begins", page);
	CHECK(cleave_unclip(&table->index, self, first_of(page) + 1) == -ENOENT, "unclip inside page %u", page);
	CHECK(cleave_unclip(&table->index, self, first_of(page)) == -ENOENT, "unclip other values, page %u", page);
	CHECK(!used || cleave_insert(&table->index, self, first_of(page), last_of(page), self, NULL) == -EEXIST,
	      "insert over page %u", page);
	CHECK(page + 1 == PAGES || used || !table->value[page + 1] ||
		      cleave_insert(&table->index, self, first_of(page), first_of(page + 1), self, NULL) == -EEXIST,
	      "insert over the end of page %u", page);
	compare(table, "refusals", page);
}

static void arrange(struct table *table, unsigned int pattern)
{
	static char values[PAGES];

	memset(table->value, 0, sizeof(table->value));
	for (unsigned int i = 0; i < PAGES; i++)
		if (pattern >> i % PATTERN & 1)
			insert(table, i, &values[i]);
	for (unsigned int i = 0; i < PAGES; i++) {
		void *value = table->value[i];

		refuse(table, i);
		if (value) {
			cut_and_join(table, i);
			erase(table, i);
			insert(table, i, value);
		} else {
			insert(table, i, &values[i]);
			erase(table, i);
		}
	}
	for (unsigned int i = 0; i < PAGES; i++)
		if (table->value[i])
			erase(table, i);
}

static void every_arrangement(const char *search)
{
	struct table table;

	if (!cleave_search_named(search))
		return; /* not on this processor, or not in this build */
	for (enum grace grace = GRACE_AT_ONCE; grace <= GRACE_ON_DEMAND; grace++) {
		manual_start(&table.manual, grace, search, 1000);
		CHECK(cleave_init(&table.index, &table.manual.self) == 0, "index");
		for (unsigned int pattern = grace; pattern < 1u << PATTERN; pattern += 3)
			arrange(&table, pattern);
		CHECK(table.manual.self.counters.edits > 1000, "only %llu edits",
		      (unsigned long long)table.manual.self.counters.edits);
		cleave_destroy(&table.index, &table.manual.self);
		manual_stop(&table.manual);
	}
}

static void by_the_scalar_walk(void **state)
{
	(void)state;
	every_arrangement("scalar");
}

static void by_the_avx2_walk(void **state)
{
	(void)state;
	every_arrangement("avx2");
}

static void by_the_avx512_walk(void **state)
{
	(void)state;
	every_arrangement("avx512");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_the_scalar_walk),
		cmocka_unit_test(by_the_avx2_walk),
		cmocka_unit_test(by_the_avx512_walk),
	};

	return RUN_TESTS(tests, argc, argv);
}
