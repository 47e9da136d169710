/* SPDX-License-Identifier: ISC */
/* Maps beside their models: is everything the same? */
#include "map_twins.h"

static void compare_page(struct twin *twin, const struct cleave_map_entry *entry, unsigned int i)
{
	const struct cleave_map_attributes *attributes = &entry->attributes;
	const struct model_page *page = &twin->model.pages[i];
	uint64_t addr = twin->model.base + i * PAGE;
	struct thing *store = attributes->store;

	CHECK(page->entry, "page %u is mapped", i);
	CHECK(attributes->object == page->object, "page %u: object", i);
	CHECK(!page->object || addr + attributes->delta == page->offset, "page %u: offset", i);
	CHECK((store != NULL) == (page->store != 0), "page %u: store", i);
	if (store) {
		if (!store->model)
			store->model = page->store;
		CHECK(store->model == page->store, "page %u: another store", i);
		CHECK((addr + attributes->store_delta) / PAGE == page->slot, "page %u: slot", i);
	}
	CHECK(attributes->flags == page->flags, "page %u: flags %#x, not %#x", i, attributes->flags, page->flags);
	CHECK(attributes->wired == page->wired, "page %u: wired %u, not %u", i, attributes->wired, page->wired);
	CHECK(attributes->protection == page->protection, "page %u: protection %u, not %u", i, attributes->protection,
	      page->protection);
	CHECK(attributes->max_protection == page->max_protection, "page %u: max_protection", i);
	CHECK(attributes->inheritance == page->inheritance, "page %u: inheritance", i);
	CHECK(attributes->advice == page->advice, "page %u: advice", i);
}

static void compare_boundary(struct twin *twin, unsigned int i, bool begins)
{
	struct model_page *page = &twin->model.pages[i];

	if (twin->model.config.flags & CLEAVE_MAP_COALESCE) {
		/* Which of several neighbours are one entry is checked by tests of its own. */
		CHECK(begins || !page->begins || map_model_joinable(&twin->model, i),
		      "page %u: joined with what differs", i);
		page->begins = begins;
	}
	CHECK(page->begins == begins, "page %u: %s", i, begins ? "an entry begins" : "no entry begins");
}

static bool is_border(const struct map_model *model, uint64_t addr)
{
	for (unsigned int i = 0; i < model->config.nselectors; i++)
		if (addr == model->config.selectors[i].start || addr == model->config.selectors[i].end)
			return true;
	return false;
}

static void compare_twin(struct universe *universe, struct twin *twin)
{
	struct cleave_map_entry entries[2 * SPACE + 16], found;
	struct watched *watched = embedder_watched(&universe->embedder, &twin->map);
	struct cleave_map_accounts accounts;
	struct map_model *model = &twin->model;
	uint64_t from = 0, at = model->base;
	size_t n = 2 * SPACE + 16;

	CHECK(cleave_map_snapshot_locked(&twin->map, &universe->thread, &from, entries, &n) == 0, "snapshot");
	for (size_t e = 0; e < n; e++) {
		const struct cleave_map_entry *entry = &entries[e];

		CHECK(entry->start == at, "the snapshot leaves something out");
		for (at = entry->start; at < entry->end; at += PAGE) {
			unsigned int i = (unsigned int)((at - model->base) / PAGE);

			compare_page(twin, entry, i);
			compare_boundary(twin, i, at == entry->start);
		}
		if (entry->start == entry->end)
			CHECK(at == model->base || is_border(model, at), "free space begins at no border");
		for (; at < entry->end + entry->guard; at += PAGE)
			CHECK(map_model_guard(model, (unsigned int)((at - model->base) / PAGE)), "a guard");
		for (; at < entry->end + entry->guard + entry->fspace; at += PAGE) {
			unsigned int i = (unsigned int)((at - model->base) / PAGE);

			CHECK(!model->pages[i].entry && !map_model_guard(model, i), "page %u is free", i);
			CHECK(at == entry->end + entry->guard ? entry->start == entry->end || !is_border(model, at)
							      : !is_border(model, at),
			      "page %u: free space crosses a border", i);
		}
	}
	CHECK(at == model->config.max, "the snapshot ends early");
	for (unsigned int i = 0; i < model->n; i++) {
		bool mapped;

		manual_enter(&universe->domain);
		mapped = cleave_map_lookup_rcu(&twin->map, model->base + i * PAGE + i, &found);
		manual_leave(&universe->domain);
		CHECK(mapped == (model->pages[i].entry && !(model->pages[i].flags & CLEAVE_MAP_HOLE)),
		      "page %u: lookup", i);
		for (size_t e = 0; e < n; e++) {
			if (model->base + i * PAGE < entries[e].start ||
			    model->base + i * PAGE >= entries[e].end + entries[e].guard + entries[e].fspace)
				continue;
			CHECK(found.start == entries[e].start && found.end == entries[e].end, "page %u: lookup", i);
			if (!model->pages[i].entry)
				CHECK(found.guard == entries[e].guard && found.fspace == entries[e].fspace,
				      "page %u: free space", i);
		}
		CHECK(watched->wired[i] == (model->pages[i].wired != 0), "page %u: wired %d", i, watched->wired[i]);
	}
	cleave_map_account(&twin->map, &universe->thread, &accounts);
	CHECK(accounts.size == map_model_size(model), "size");
	CHECK(accounts.data == map_model_data(model), "data");
	CHECK(accounts.entries == map_model_entries(model), "entries");
	CHECK(accounts.serial == model->serial, "serial %llu, not %llu", (unsigned long long)accounts.serial,
	      (unsigned long long)model->serial);
}

/* What has been entered into page tables is still allowed; then enter something new. */
static void check_translations(struct universe *universe, struct twin *twin)
{
	struct watched *watched = embedder_watched(&universe->embedder, &twin->map);

	for (unsigned int i = 0; i < twin->model.n; i++) {
		struct translation *translation = &watched->translations[i];
		const struct model_page *page = &twin->model.pages[i];
		bool mapped = page->entry && !(page->flags & CLEAVE_MAP_HOLE);

		if (translation->present) {
			CHECK(mapped, "page %u: a translation of what is unmapped", i);
			CHECK(translation->object == page->object &&
				      (!page->object || translation->offset == page->offset),
			      "page %u: a translation of another object", i);
			CHECK(!(translation->protection & ~page->protection), "page %u: a translation allows too much",
			      i);
			CHECK(!translation->store || (uintptr_t)translation->store == page->store,
			      "page %u: a translation of another store", i);
		}
		if (mapped && rng_one_in(&universe->noise, 8))
			*translation = (struct translation){ .present = true,
							     .protection = page->protection,
							     .object = page->object,
							     .offset = page->offset,
							     .store = (void *)(uintptr_t)page->store,
							     .slot = page->slot };
	}
}

static void print_line(struct cleave_lines *lines, const char *text)
{
	(void)lines;
	fprintf(stderr, "\t%s\n", text);
}

/* Dead stores are kept for their last check only. */
static void prune(struct universe *universe)
{
	struct thing **place = &universe->embedder.stores, *store;

	while ((store = *place) != NULL) {
		if (thing_refs(store)) {
			place = &store->next;
			continue;
		}
		*place = store->next;
		free(store->windows);
		free(store);
	}
}

void universe_compare(struct universe *universe)
{
	struct cleave_lines lines = { print_line };

	for (unsigned int t = 0; t < MAPS; t++) {
		struct twin *twin = &universe->twins[t];

		if (!twin->alive)
			continue;
		CHECK(cleave_map_verify(&twin->map, &universe->thread, &lines) == 0, "map %u", t);
		compare_twin(universe, twin);
		check_translations(universe, twin);
	}
	CHECK(universe->embedder.promised == 0, "a promise is left over");
	/* Every window is shown by pages, and by as many. */
	for (struct thing *store = universe->embedder.stores; store; store = store->next) {
		if (!thing_refs(store))
			continue;
		for (uint64_t slot = 0; slot < store->pages; slot++) {
			uint64_t shown = 0;

			for (unsigned int t = 0; t < MAPS; t++)
				for (unsigned int i = 0; universe->twins[t].alive && i < universe->twins[t].model.n;
				     i++)
					shown += store->model &&
						 universe->twins[t].model.pages[i].store == store->model &&
						 universe->twins[t].model.pages[i].slot == slot;
			CHECK(store->windows[slot] == shown, "page %llu of a store: %llu windows, not %llu",
			      (unsigned long long)slot, (unsigned long long)store->windows[slot],
			      (unsigned long long)shown);
		}
	}
	prune(universe);
}
