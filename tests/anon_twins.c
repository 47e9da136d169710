/* SPDX-License-Identifier: ISC */
#include "anon_twins.h"

struct anon_twins it;

static uint64_t slot_of(unsigned int place)
{
	return (uint64_t)place * it.stride;
}

static void open_store(struct model_store *model)
{
	memset(model, 0, sizeof(*model));
	model->places = PLACES / 2;
	model->store = store_make(&it.world, slot_of(model->places));
}

static void fill(struct model_store *model, unsigned int place)
{
	struct cleave_anon_context *context = it.world.context;
	struct cleave_anon_page *anon = page_make(context, it.world.pages), *winner = NULL;
	int result = cleave_anon_fill(context, model->store, slot_of(place), anon, &winner);

	CHECK(result == (place >= model->places ? -EINVAL : model->bytes[place] ? -EEXIST : 0), "fill: %d", result);
	if (!result) {
		it.page[cleave_anon_page_content(anon) / 2] = model->bytes[place] = ++it.bytes;
		return;
	}
	if (winner) {
		CHECK(it.page[cleave_anon_page_content(winner) / 2] == model->bytes[place], "another winner");
		cleave_anon_page_unpin(context, winner);
	}
	cleave_anon_page_drop(context, anon);
}

static void write_page(struct model_store *model, unsigned int place)
{
	struct cleave_anon_page *before = store_lookup(&it.world, model->store, slot_of(place)), *anon;

	if (place >= model->places)
		return;
	anon = store_write(&it.world, model->store, slot_of(place));
	it.in_place += anon == before;
	it.copied += before && anon != before;
	it.page[cleave_anon_page_content(anon) / 2] = model->bytes[place] = ++it.bytes;
}

static void remove_page(struct model_store *model, unsigned int place)
{
	struct cleave_anon_page *anon = NULL;
	int result = cleave_anon_remove(it.world.context, model->store, slot_of(place), &anon);

	CHECK(result == (place >= model->places ? -EINVAL : model->bytes[place] ? 0 : -ENOENT), "remove: %d", result);
	if (result)
		return;
	CHECK(it.page[cleave_anon_page_content(anon) / 2] == model->bytes[place], "another anon");
	cleave_anon_page_drop(it.world.context, anon);
	model->bytes[place] = 0;
}

static void wipe(struct model_store *model, unsigned int from, unsigned int to)
{
	CHECK(cleave_anon_wipe(it.world.context, model->store, slot_of(from), slot_of(to + 1) - 1) == 0, "wipe");
	for (unsigned int place = from; place <= to; place++)
		model->bytes[place] = 0;
}

/* Several windows come and go in one change. */
static void change_windows(struct model_store *model)
{
	unsigned int windows[PLACES], first = PLACES, last = 0, n = 1 + (unsigned int)rng_below(&it.world.rng, 5);
	struct cleave_anon_change change;
	bool commit = !rng_one_in(&it.world.rng, 6);

	memcpy(windows, model->windows, sizeof(windows));
	CHECK(cleave_anon_windows_begin(&change, it.world.context, model->store, 0, slot_of(PLACES) - 1) == 0, "begin");
	while (n-- > 0) {
		unsigned int from = (unsigned int)rng_below(&it.world.rng, PLACES), to = from;
		int delta = rng_one_in(&it.world.rng, 2) ? 1 : -1, result, expected = 0;

		to += (unsigned int)rng_below(&it.world.rng, 40);
		if (to >= PLACES)
			to = PLACES - 1;
		for (unsigned int place = from; place <= to; place++)
			if ((int)windows[place] + delta < 0)
				expected = -EINVAL;
		result = cleave_anon_windows_put(&change, slot_of(from), slot_of(to + 1) - 1, delta);
		CHECK(result == expected, "put: %d, should be %d", result, expected);
		if (!result) {
			for (unsigned int place = from; place <= to; place++)
				windows[place] = (unsigned int)((int)windows[place] + delta);
			first = first < from ? first : from;
			last = last > to ? last : to;
		}
		if (rng_one_in(&it.world.rng, 3))
			CHECK(cleave_anon_windows_prepare(&change) == 0, "prepare");
	}
	if (!commit) {
		cleave_anon_windows_abort(&change);
		return;
	}
	CHECK(cleave_anon_windows_prepare(&change) == 0, "prepare");
	cleave_anon_windows_commit(&change);
	cleave_anon_windows_wipe(&change);
	for (unsigned int place = 0; place < PLACES; place++)
		if (model->windows[place] && !windows[place])
			model->bytes[place] = 0;
	memcpy(model->windows, windows, sizeof(windows));
}

static void clone_stores(void)
{
	struct cleave_anon *stores[2], *clones[2];
	unsigned int from[2], to[2], n = 0;

	for (unsigned int i = 0; i < STORES && n < 2; i++)
		if (it.stores[i].store && rng_one_in(&it.world.rng, 2))
			from[n++] = i;
	for (unsigned int i = 0, k = 0; k < n; i++) {
		if (i == STORES) {
			n = k;
			break;
		}
		if (!it.stores[i].store)
			to[k++] = i;
	}
	if (n == 0)
		return;
	for (unsigned int k = 0; k < n; k++)
		stores[k] = it.stores[from[k]].store;
	CHECK(cleave_anon_clone_begin(it.world.context, stores, clones, n) == 0, "clone");
	if (rng_one_in(&it.world.rng, 5)) {
		cleave_anon_clone_abort(it.world.context, stores, clones, n);
		return;
	}
	cleave_anon_clone_end(it.world.context, stores, clones, n);
	cleave_anon_clone_done(it.world.context, stores, n);
	for (unsigned int k = 0; k < n; k++) {
		struct model_store *child = &it.stores[to[k]];

		*child = it.stores[from[k]];
		child->store = clones[k];
		memset(child->windows, 0, sizeof(child->windows));
		if (rng_one_in(&it.world.rng, 2)) {
			/* The child keeps what its windows cover. */
			change_windows(child);
			CHECK(cleave_anon_wipe_outside(it.world.context, child->store) == 0, "wipe outside");
			for (unsigned int place = 0; place < PLACES; place++)
				if (!child->windows[place])
					child->bytes[place] = 0;
		}
	}
}

static int copy_page(struct cleave_anon_copier *copier, uint64_t from, uint64_t *content)
{
	(void)copier;
	*content = pages_take(it.world.pages, false);
	it.page[*content / 2] = it.page[from / 2];
	return 0;
}

static void undo_page(struct cleave_anon_copier *copier, uint64_t content)
{
	(void)copier;
	pages_release(&it.world.pages->ops, content);
}

static bool one_in_three(struct cleave_anon_walker *walker, uint64_t content)
{
	(void)walker;
	return content / 2 % 3 == 0;
}

static int move_page(struct cleave_anon_walker *walker, uint64_t content, uint64_t *fresh)
{
	uint64_t unwanted[3];
	unsigned int n = 0;

	(void)walker;
	while (one_in_three(walker, *fresh = pages_take(it.world.pages, rng_one_in(&it.world.rng, 2))))
		unwanted[n++] = *fresh;
	while (n-- > 0)
		pages_release(&it.world.pages->ops, unwanted[n]);
	it.page[*fresh / 2] = it.page[content / 2];
	pages_release(&it.world.pages->ops, content);
	it.walked++;
	return 0;
}

static void resize(struct model_store *model)
{
	unsigned int places = 1 + (unsigned int)rng_below(&it.world.rng, PLACES);

	if (places == model->places)
		return;
	if (places > model->places) {
		CHECK(cleave_anon_extend(model->store, slot_of(places)) == 0, "extend");
	} else {
		CHECK(cleave_anon_truncate(it.world.context, model->store, slot_of(places)) == 0, "truncate");
		for (unsigned int place = places; place < PLACES; place++)
			model->bytes[place] = 0;
	}
	model->places = places;
}

void anon_twins_step(void)
{
	struct model_store *model = &it.stores[rng_below(&it.world.rng, STORES)];
	unsigned int place = (unsigned int)rng_below(&it.world.rng, PLACES), to = place;
	struct cleave_anon_walker walker = { .match = one_in_three, .visit = move_page };
	struct cleave_anon_copier copier = { copy_page, undo_page };

	to += (unsigned int)(rng_one_in(&it.world.rng, 4) ? rng_below(&it.world.rng, PLACES - place)
							  : rng_below(&it.world.rng, 8));
	if (to >= PLACES)
		to = PLACES - 1;
	if (!model->store) {
		if (rng_one_in(&it.world.rng, 20))
			open_store(model);
		else if (rng_one_in(&it.world.rng, 4))
			clone_stores();
		return;
	}
	switch (rng_below(&it.world.rng, 40)) {
	case 0:
		cleave_anon_unref(it.world.context, model->store);
		model->store = NULL;
		break;
	case 1:
	case 2:
		wipe(model, place, to);
		break;
	case 3:
	case 4:
	case 5:
		change_windows(model);
		break;
	case 6:
		resize(model);
		break;
	case 7:
		CHECK(cleave_anon_cow_now(it.world.context, model->store, slot_of(place), slot_of(to), &copier, NULL) ==
			      0,
		      "copy now");
		break;
	case 8:
		CHECK(cleave_anon_walk(it.world.context, &walker) == 0, "walk");
		break;
	case 9:
		cleave_anon_flush(it.world.context);
		break;
	case 10:
	case 11:
		clone_stores();
		break;
	default:
		if (rng_one_in(&it.world.rng, 4))
			remove_page(model, place);
		else if (rng_one_in(&it.world.rng, 2))
			write_page(model, place);
		else
			fill(model, place);
	}
}

static int by_value(const void *a, const void *b)
{
	uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return x < y ? -1 : x > y;
}

void anon_twins_compare(void)
{
	uintptr_t *anons = calloc(STORES * PLACES, sizeof(*anons));
	size_t n = 0, distinct = 0;

	CHECK(anons != NULL, "memory");
	for (unsigned int i = 0; i < STORES; i++) {
		struct model_store *model = &it.stores[i];
		uint64_t populated = 0;

		if (!model->store)
			continue;
		check_index(&model->store->windows);
		for (unsigned int place = 0; place < PLACES; place++) {
			struct cleave_anon_page *anon = store_lookup(&it.world, model->store, slot_of(place));
			uint64_t bytes = anon ? it.page[cleave_anon_page_content(anon) / 2] : 0;

			CHECK(bytes == model->bytes[place], "store %u place %u has %llu, should be %llu", i, place,
			      LL(bytes), LL(model->bytes[place]));
			CHECK(store_windows(&it.world, model->store, slot_of(place)) == model->windows[place],
			      "windows");
			if (anon)
				anons[n++] = (uintptr_t)anon;
			populated += anon != NULL;
		}
		CHECK(store_count(&it.world, model->store) == populated, "count");
	}
	/* What nobody can find is gone: no leak, not even for a while. */
	cleave_anon_flush(it.world.context);
	qsort(anons, n, sizeof(*anons), by_value);
	for (size_t k = 0; k < n; k++)
		distinct += k == 0 || anons[k] != anons[k - 1];
	CHECK(pages_live(it.world.pages) == distinct, "%llu pages live, %zu can be found",
	      LL(pages_live(it.world.pages)), distinct);
	free(anons);
}

void anon_twins_start(enum grace grace, unsigned int stride, uint64_t seed)
{
	static const uint64_t strides[STRIDES] = { 1, 3, 40, 1000003, UINT64_C(200000033) };

	memset(&it, 0, sizeof(it));
	anon_world_start(&it.world, grace);
	it.world.rng.state = seed;
	it.stride = strides[stride];
	it.page = calloc(PAGES_MOST, sizeof(*it.page));
	CHECK(it.page != NULL, "memory");
	open_store(&it.stores[0]);
}

void anon_twins_stop(void)
{
	for (unsigned int i = 0; i < STORES; i++)
		if (it.stores[i].store)
			cleave_anon_unref(it.world.context, it.stores[i].store);
	anon_world_stop(&it.world);
	free(it.page);
}
