/* SPDX-License-Identifier: ISC */
/*
 * Clones: writers are stopped by CLONING, those under way are waited for by their guards, and wipes, which are long, by
 * their number; then the root gets one more count and both sides a new generation, so that every node is unowned until
 * it is stamped or copied again.
 *
 * Several clones of one store at a time: CLONING counts them, and each step below is under the root's lock.
 */
#include "anon_wipe.h"

static void let_writers_go_on(struct cleave_anon_context *context, struct cleave_anon *const *stores, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		PORT_ASSERT(PORT_LOAD(&stores[i]->cloning, PORT_RELAXED) > 0, "a clone is done once");
		/* [A7-rel] the new generation before the flag: who sees it cleared, sees that */
		PORT_FETCH_ADD(&stores[i]->cloning, UINT32_MAX, PORT_RELEASE);
		cleave__guards_wake(&context->domain->guards, &stores[i]->cloning);
	}
}

int cleave_anon_clone_begin(struct cleave_anon_context *context, struct cleave_anon *const *stores,
			    struct cleave_anon **clones, size_t n)
{
	size_t made = 0;

	if (n == 0)
		return -EINVAL;
	for (; made < n; made++) {
		clones[made] = cleave__anon_make(context, cleave_anon_slots(stores[made]));
		if (!clones[made])
			break;
	}
	if (made < n) {
		while (made-- > 0)
			cleave__anon_unmake(context, clones[made]);
		cleave__anon_tidy(context);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++)
		PORT_FETCH_ADD(&stores[i]->cloning, 1, PORT_SEQ_CST); /* [A7-sc] before the scan of guards */
	PORT_YIELD();
	if (n == 1)
		cleave__guards_wait_slots(&context->domain->guards, context->self, &context->guard, stores[0], 0,
					  UINT64_MAX);
	else
		cleave__guards_wait_all(&context->domain->guards, context->self, &context->guard);
	for (size_t i = 0; i < n; i++)
		cleave__anon_wait_wipes(context, stores[i]);
	return 0;
}

void cleave_anon_clone_end(struct cleave_anon_context *context, struct cleave_anon *const *stores,
			   struct cleave_anon *const *clones, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct cleave_anon *store = stores[i], *clone = clones[i];
		uint64_t root;

		cleave__anon_lock_word(context, &store->root_lock);
		PORT_STORE(&store->generation, cleave__anon_generation(context->domain), PORT_RELAXED);
		root = cleave__anon_slot_visit(&store->root);
		if (root)
			cleave__anon_node_get(cleave__anon_node_of(root));
		/* Nobody knows the clone yet: the domain's lock, or whoever passes it on, orders this. */
		PORT_STORE(&clone->root, root, PORT_RELAXED);
		cleave__anon_unlock(&context->domain->guards, &store->root_lock);
		PORT_STORE(&clone->nslots, cleave_anon_slots(store), PORT_RELAXED);
		cleave__anon_register(context, clone);
	}
}

void cleave_anon_clone_done(struct cleave_anon_context *context, struct cleave_anon *const *stores, size_t n)
{
	let_writers_go_on(context, stores, n);
	cleave__anon_tidy(context);
}

void cleave_anon_clone_abort(struct cleave_anon_context *context, struct cleave_anon *const *stores,
			     struct cleave_anon **clones, size_t n)
{
	let_writers_go_on(context, stores, n);
	for (size_t i = 0; i < n; i++)
		cleave__anon_unmake(context, clones[i]);
	cleave__anon_tidy(context);
}
