/* SPDX-License-Identifier: ISC */
#include "siblings.h"

#define MOST_CELLS (2 * CLEAVE__CELLS + 2)
#define FURTHER 3u /* cells that a border moves away from a gap, at most */

struct siblings {
	struct cleave *index;
	struct cleave_thread *self;
	struct cleave__branch *parent;
	struct cleave__branch *above; /* the parent's, if that lives; NULL: not known */
	struct cleave__branch *copy;  /* what has taken the parent's place, and `above` then that of the branch above */
	struct cleave__branch *grown; /* the branch above, if it is replaced too */
	unsigned int at;	     /* the number of the first among the parent's children */
	unsigned int nold;
	bool keep_locked;	     /* the new leaves are published locked */
	int lean;		     /* where more divisions are to follow: > 0 on the right, < 0 on the left */
	unsigned int first_half;     /* if the parent is divided, too: children of the first of the two */
	struct cleave__node *old[2]; /* locked, live, in address order */
	unsigned int r;		     /* of the cell that the put begins in; until that is known, of one not above it */

	/* The cells to come, and after which of them each new leaf ends. */
	uint64_t start[MOST_CELLS + CLEAVE__CELL_ROOM]; /* leaves are copied as a whole */
	void *value[MOST_CELLS + CLEAVE__CELL_ROOM];
	unsigned int n;
	unsigned int end[CLEAVE__MOST_FRESH];
	unsigned int nfresh;
	struct cleave__node *fresh[CLEAVE__MOST_FRESH];
	uint64_t gap[CLEAVE__MOST_FRESH];
};

struct put {
	uint64_t first;
	uint64_t last;
	void *value;
};

static void init(struct siblings *s, struct cleave *index, struct cleave_thread *self,
		 const struct cleave__position *position)
{
	s->index = index;
	s->self = self;
	s->parent = position->parent;
	s->above = position->above;
	s->grown = NULL;
	s->at = position->index;
	s->nold = 1;
	s->keep_locked = false;
	s->lean = 0;
	s->old[0] = position->node;
	s->r = position->order == cleave__order_locked(cleave__leaf(position->node)) ? position->r : 0;
	s->nfresh = 0;
}

/* `beside` is the neighbour on the right, or the left, of the first leaf. */
static void add(struct siblings *s, struct cleave__node *beside, bool right)
{
	if (!right) {
		s->old[1] = s->old[0];
		s->at--;
	}
	s->old[right] = beside;
	s->nold = 2;
}

/* ---- The cells to come ---- */

static void append(struct siblings *s, uint64_t start, void *value)
{
	if (!value && s->n > 0 && !s->value[s->n - 1])
		return; /* gaps are joined */
	s->start[s->n] = start;
	s->value[s->n++] = value;
}

/*
 * The cells of the ranks [r, end) of a leaf; only the first may be a gap that joins the one before.  By fours: how many
 * there are is as good as random.  (What is read beyond them, of the leaf's first cell, is without meaning.)
 */
static void append_cells(struct siblings *s, const struct cleave__leaf *leaf, uint64_t order, unsigned int r,
			 unsigned int end)
{
	uint64_t numbers = (order & cleave__low_numbers(end)) >> (4 * r), *start;
	void **value;

	if (r == end)
		return;
	if (s->n > 0 && !s->value[s->n - 1] && !PORT_CELL_READ(leaf->value[numbers & 15])) {
		numbers >>= 4;
		r++;
	}
	start = &s->start[s->n];
	value = &s->value[s->n];
	s->n += end - r;
	for (; r < end; r += 4, start += 4, value += 4, numbers >>= 16) {
		for (unsigned int i = 0; i < 4; i++) {
			start[i] = PORT_CELL_READ(leaf->start[numbers >> (4 * i) & 15]);
			value[i] = PORT_CELL_READ(leaf->value[numbers >> (4 * i) & 15]);
		}
	}
}

/* The cells of one old leaf, with the put laid over them if it is of that leaf. */
static void lay_leaf(struct siblings *s, unsigned int k, const struct put *put)
{
	const struct cleave__leaf *leaf = cleave__leaf(s->old[k]);
	uint64_t order = cleave__order_locked(leaf);
	unsigned int count = cleave__count12(cleave__live(order)), i, j;
	struct cleave_entry head, tail;

	if (!put || put->first < leaf->node.first || put->first > leaf->node.last) {
		append_cells(s, leaf, order, 0, count);
		return;
	}
	PORT_ASSERT(s->r < count && PORT_CELL_READ(leaf->start[cleave__cell(order, s->r)]) <= put->first,
		    "a walk led to the put's first address, or to one below it");
	s->r = i = cleave__leaf_rank(leaf, order, count, s->r, put->first);
	j = cleave__leaf_rank(leaf, order, count, i, put->last);
	cleave__leaf_entry(leaf, order, count, i, &head);
	cleave__leaf_entry(leaf, order, count, j, &tail);
	append_cells(s, leaf, order, 0, i + (head.first < put->first));
	append(s, put->first, put->value);
	if (put->last < tail.last)
		append(s, put->last + 1, tail.value);
	append_cells(s, leaf, order, j + 1, count);
}

/* Those of all old leaves. */
static void lay(struct siblings *s, const struct put *put)
{
	s->n = 0;
	for (unsigned int k = 0; k < s->nold; k++)
		lay_leaf(s, k, put);
}

/* So many leaves for `n` cells, with room for a gap that stays with the entry before it. */
static unsigned int leaves_for(unsigned int n)
{
	return n <= CLEAVE__CELLS ? 1 : (n + CLEAVE__FULL - 1) / CLEAVE__FULL;
}

/* Two leaves, the first with so many cells. */
static void share_at(struct siblings *s, unsigned int first_share)
{
	s->end[0] = first_share;
	s->end[1] = s->n;
	s->nfresh = 2;
}

/* Share the cells out among `k` leaves.  `first_share`, and where a gap goes: as in repack.c. */
static void share_out(struct siblings *s, unsigned int k, unsigned int first_share)
{
	unsigned int end = 0;

	for (s->nfresh = 0; end < s->n; k--) {
		end += end == 0 && first_share ? first_share : (s->n - end + k - 1) / k;
		end += end < s->n && !s->value[end]; /* no two gaps follow each other */
		s->end[s->nfresh++] = end;
	}
}

/* ---- Private nodes ---- */

/* Does the parent have children enough to lose one?  A small branch is better merged itself. */
static bool may_join(const struct cleave__branch *parent)
{
	return parent->node.count > CLEAVE__SMALL + 1;
}

/* May so many leaves stand in the place of the old ones? */
static bool parent_suits(const struct siblings *s)
{
	return s->nfresh < s->nold ? may_join(s->parent)
				   : s->parent->node.count - s->nold + s->nfresh <= CLEAVE__FANOUT;
}

/*
 * If not: how many of the children to come are to stay in the first of two branches, with the new leaves beside each
 * other?  Who goes upward, or downward, leaves one behind that is well filled.  0: that cannot be.
 */
static unsigned int share_children(const struct siblings *s)
{
	unsigned int n = s->parent->node.count - s->nold + s->nfresh, behind = s->at + s->nfresh, share = n / 2;

	if (s->lean > 0 && s->at >= CLEAVE__FANOUT / 2)
		share = s->at;
	else if (s->lean < 0 && behind <= CLEAVE__FANOUT / 2)
		share = behind;
	else if (s->at < share && share < behind)
		share = share - s->at < behind - share ? s->at : behind;
	return share > 1 && share <= CLEAVE__FANOUT && n - share > 1 && n - share <= CLEAVE__FANOUT ? share : 0;
}

static bool have_nodes(const struct siblings *s, unsigned int branches)
{
	const struct cleave_thread *self = s->self;

	return self->nfree[CLEAVE__LEAF] >= self->reserved[CLEAVE__LEAF] + s->nfresh &&
	       self->nfree[CLEAVE__BRANCH] >= self->reserved[CLEAVE__BRANCH] + branches;
}

/* A leaf of the cells from `begin` on.  What is above its own is copied too, and not live. */
static void build_leaf(struct siblings *s, unsigned int k, unsigned int begin)
{
	unsigned int end = s->end[k], n = end - begin;
	struct cleave__node *node = cleave__pool_take(s->self, CLEAVE__LEAF);
	struct cleave__leaf *leaf = cleave__leaf(node);
	const uint64_t *start = &s->start[begin];
	void *const *value = &s->value[begin];
	uint64_t gap = 0;

	PORT_ASSERT(n > 0 && n <= CLEAVE__CELLS, "a leaf is not packed beyond its cells");
	cleave__leaf_init_private(leaf, start[0], start[n] - 1);
	cleave__leaf_fill_private(leaf, start, value);
	for (unsigned int c = 0; c < n; c++) {
		/* Which cells are gaps is as good as random: no branch on it.  (None is all: there is a parent.) */
		uint64_t size = (start[c + 1] - start[c]) & (0 - (uint64_t)!value[c]);

		gap = size > gap ? size : gap;
	}
	PORT_STORE(&node->order, cleave__order_of_first(n), PORT_RELAXED);
	PORT_STORE(&node->lock, s->keep_locked ? CLEAVE__LOCKED : 0, PORT_RELAXED);
	s->fresh[k] = node;
	s->gap[k] = gap;
}

static void build_leaves(struct siblings *s)
{
	s->start[s->n] = s->old[s->nold - 1]->last + 1;
	for (unsigned int k = 0, begin = 0; k < s->nfresh; begin = s->end[k++])
		build_leaf(s, k, begin);
}

/* Where gaps come and go at a border they come back: the bounds stay. */
static uint64_t fresh_bound(const struct siblings *s, unsigned int k)
{
	uint64_t bound = s->nfresh == s->nold ? cleave__branch_gap(s->parent, s->at + k) : 0;

	return bound > s->gap[k] ? bound : s->gap[k];
}

/* What takes the parent's place. */
static struct cleave__node *copy_parent(struct siblings *s)
{
	s->copy = cleave__branch(cleave__pool_take(s->self, CLEAVE__BRANCH));
	cleave__branch_copy_private(s->copy, s->parent, s->at, s->nold, s->nfresh);
	for (unsigned int k = 0; k < s->nfresh; k++)
		cleave__branch_set_private(s->copy, s->at + k, s->fresh[k], fresh_bound(s, k));
	return &s->copy->node;
}

/* One of the two branches that take its place if it is full: of the children to come, those of [c, end). */
static struct cleave__branch *build_half(struct siblings *s, uint64_t first, unsigned int c, unsigned int end)
{
	unsigned int at = s->at, behind = at + s->nfresh, more = s->nfresh - s->nold;
	struct cleave__branch *half = cleave__branch(cleave__pool_take(s->self, CLEAVE__BRANCH));

	cleave__branch_init_private(half, s->parent->node.level, first);
	if (c < at)
		cleave__branch_append_copies_private(half, s->parent, c, end < at ? end : at);
	if (c <= at && at < end) {
		s->copy = half;
		for (unsigned int k = 0; k < s->nfresh; k++)
			cleave__branch_append_private(half, s->fresh[k], s->fresh[k]->last, fresh_bound(s, k));
	}
	if (behind < end)
		cleave__branch_append_copies_private(half, s->parent, (c > behind ? c : behind) - more, end - more);
	cleave__branch_seal_private(half);
	return half;
}

/* The parent is full: what takes the place of the one above it. */
static struct cleave__node *copy_above(struct siblings *s)
{
	const struct cleave__node *parent = &s->parent->node;
	unsigned int i = cleave__branch_index(s->grown, parent->first), n = parent->count - s->nold + s->nfresh;
	struct cleave__branch *below = build_half(s, parent->first, 0, s->first_half);
	struct cleave__branch *rest = build_half(s, below->node.last + 1, s->first_half, n);

	if (s->copy == rest)
		s->at -= s->first_half;
	s->above = cleave__branch(cleave__pool_take(s->self, CLEAVE__BRANCH));
	cleave__branch_copy_private(s->above, s->grown, i, 1, 2);
	cleave__branch_set_private(s->above, i, &below->node, cleave__branch_largest_gap(below));
	cleave__branch_set_private(s->above, i + 1, &rest->node, cleave__branch_largest_gap(rest));
	return &s->above->node;
}

static bool bound_suffices(const struct siblings *s, const struct cleave__branch *above, unsigned int i)
{
	uint64_t bound = cleave__branch_gap(above, i);

	for (unsigned int k = 0; k < s->nfresh; k++)
		if (s->gap[k] > bound)
			return false;
	return true;
}

/* ---- Publication ---- */

/* Try to lock the parent and what is above it (NULL: the root).  The leaves are locked: if it lives, it is theirs. */
static bool lock_above(const struct siblings *s, struct cleave__branch **above) PORT_UNCHECKED
{
	struct cleave__node *parent = &s->parent->node;
	bool live;

	if (!cleave__trylock(&parent->lock))
		return false;
	live = !cleave__dead_locked(parent);
	/* A live branch that the walk went through is still the one above a live parent. */
	if (live && s->above && cleave__trylock_live(s->index, &s->above->node)) {
		*above = s->above;
		return true;
	}
	if (live && cleave__lock_above(s->index, s->self, parent->level, s->old[0]->first, true, above))
		return true;
	cleave__unlock(s->index->domain, &parent->lock, live);
	return false;
}

/* Is the branch behind the parent one with which that better shares its children? */
static bool sparse_beside(const struct siblings *s, const struct cleave__branch *above)
{
	unsigned int i = cleave__branch_index(above, s->old[0]->first) + 1;

	return s->lean == 0 && i < above->node.count &&
	       cleave__link_read_locked(&above->child[i])->count <= CLEAVE__FANOUT - 3;
}

/*
 * The parent and what is above it are locked: that is to be replaced too, if it is a branch with room for another
 * child.  Lock what is above that.  False: it has none, or that is locked; both are unlocked.
 */
static bool lock_grown(struct siblings *s, struct cleave__branch **above) PORT_UNCHECKED
{
	struct cleave__branch *branch = *above;

	if (branch && branch->node.count < CLEAVE__FANOUT && !sparse_beside(s, branch) &&
	    cleave__lock_above(s->index, s->self, branch->node.level, s->old[0]->first, true, above)) {
		s->grown = branch;
		return true;
	}
	cleave__unlock(s->index->domain, branch ? &branch->node.lock : &s->index->root_lock, true);
	cleave__unlock(s->index->domain, &s->parent->node.lock, true);
	return false;
}

/* Searches for space begin in the parent (gap.c)?  Then in its copy.  (Or it is another branch, in the same memory.) */
static void follow_edge(struct cleave__edge *edge, const struct cleave__branch *parent, struct cleave__branch *copy)
{
	if (edge->parent != parent || edge->addr < copy->node.first || edge->addr > copy->node.last)
		return;
	edge->parent = copy;
	edge->at = cleave__branch_index(copy, edge->addr);
}

/* The leaves are shared out: build them, and publish them.  True: the old ones and the parent are dead. */
static bool replace(struct siblings *s) PORT_UNCHECKED
{
	bool grows = !parent_suits(s), fits;
	struct cleave__branch *above;
	struct cleave__node *copy;
	unsigned int i;

	if (grows)
		s->first_half = s->nfresh < s->nold ? 0 : share_children(s);
	if ((grows && !s->first_half) || !have_nodes(s, grows ? 3 : 1))
		return false;
	build_leaves(s);
	if (!lock_above(s, &above) || (grows && !lock_grown(s, &above)))
		goto give_up;
	i = above ? cleave__branch_index(above, s->old[0]->first) : 0;
	fits = !above || bound_suffices(s, above, i);
	if (fits) {
		copy = grows ? copy_above(s) : copy_parent(s);
		PORT_YIELD();
		for (unsigned int k = 0; k < s->nold; k++)
			cleave__mark_dead_locked(s->old[k]);
		cleave__mark_dead_locked(&s->parent->node);
		if (grows)
			cleave__mark_dead_locked(&s->grown->node);
		if (above)
			cleave__link_publish_locked(&above->child[i], copy);
		else
			cleave__root_publish_locked(s->index, copy);
	}
	cleave__unlock(s->index->domain, above ? &above->node.lock : &s->index->root_lock, true);
	if (grows)
		cleave__unlock(s->index->domain, &s->grown->node.lock, !fits);
	cleave__unlock(s->index->domain, &s->parent->node.lock, !fits);
	if (!fits)
		goto give_up;
	PORT_COUNT(s->self->counters.restructures);
	if (!grows)
		follow_edge(&s->self->edge, s->parent, s->copy);
	if (s->nfresh > s->nold)
		cleave__pool_count_split(s->self);
	else if (s->nfresh < s->nold)
		PORT_COUNT(s->self->counters.merges);
	return true;
give_up:
	for (unsigned int k = 0; k < s->nfresh; k++)
		cleave__pool_give(s->self, s->fresh[k]);
	return false;
}

/* Unlock the neighbour, if there is one, and list what is to be retired beside the caller's leaf. */
static void settle(const struct siblings *s, const struct cleave__node *own, struct cleave__node **others)
	PORT_UNCHECKED
{
	struct cleave__node *parent = &s->parent->node;

	parent->link = NULL;
	if (s->grown) {
		s->grown->node.link = NULL;
		parent->link = &s->grown->node;
	}
	*others = parent;
	if (s->nold == 2) {
		struct cleave__node *beside = s->old[s->old[0] == own];

		cleave__unlock_dead(s->index, beside);
		beside->link = parent;
		*others = beside;
	}
}

/* ---- What is done with it ---- */

/* Is this address of the leaf free? */
static bool is_free(const struct cleave__leaf *leaf, uint64_t addr)
{
	uint64_t order = cleave__order_locked(leaf);
	unsigned int r = cleave__leaf_rank(leaf, order, cleave__count12(cleave__live(order)), 0, addr);

	return !PORT_CELL_READ(leaf->value[cleave__cell(order, r)]);
}

/* How many cells has a neighbour?  More than a leaf can have: there is none under this parent. */
static unsigned int cells_beside(const struct cleave__position *position, bool right) PORT_INSIDE
{
	const struct cleave__branch *parent = position->parent;
	const struct cleave__node *beside;

	if (right ? position->index + 1 == parent->node.count : position->index == 0)
		return CLEAVE__CELLS + 1;
	beside = cleave__link_read_rcu(&parent->child[right ? position->index + 1 : position->index - 1]);
	return cleave__count12(cleave__live(cleave__order_rcu(cleave__leaf_const(beside))));
}

/* Try to lock a neighbour that has at most so many cells. */
static struct cleave__node *lock_beside(const struct cleave__position *position, bool right, unsigned int most,
					struct cleave *index) PORT_INSIDE PORT_UNCHECKED
{
	struct cleave__node *beside;

	if (cells_beside(position, right) > most)
		return NULL;
	beside = cleave__link_read_rcu(&position->parent->child[right ? position->index + 1 : position->index - 1]);
	if (!cleave__trylock_live(index, beside))
		return NULL;
	if (cleave__count12(cleave__live(cleave__order_locked(cleave__leaf(beside)))) <= most)
		return beside;
	cleave__unlock_node(index, beside);
	return NULL;
}

/* Ascending or descending insertion: cells of the first leaf, and where more divisions will be. */
static int uneven(const struct siblings *s, const struct cleave__leaf *leaf, uint64_t last, unsigned int *share)
{
	*share = cleave__uneven_share(leaf, s->r, last, s->n);
	return *share == 0 ? 0 : *share == CLEAVE__FULL ? 1 : -1;
}

bool cleave__divide(struct cleave *index, struct cleave_thread *self, const struct cleave__position *position,
		    uint64_t first, uint64_t last, void *value, unsigned int share, struct cleave__divided *locked,
		    struct cleave__node **others) PORT_UNCHECKED
{
	const struct cleave__leaf *leaf = cleave__leaf(position->node);
	const struct put put = { first, last, value };
	bool spread = cleave__leaf_cramped(leaf, cleave__count12(cleave__live(cleave__order_locked(leaf)))), right;
	unsigned int full = spread ? CLEAVE__CRAMPED : CLEAVE__FULL, alone;
	struct cleave__node *beside = NULL;
	struct siblings s;

	if (!position->parent)
		return false;
	init(&s, index, self, position);
	s.keep_locked = locked;
	s.lean = share > 0;
	lay(&s, &put);
	if (!share && s.n <= (spread ? CLEAVE__CRAMPED - 1 : CLEAVE__CELLS))
		return false; /* a copy would hold it */
	alone = leaves_for(s.n);
	if (!share && alone == 2)
		s.lean = uneven(&s, leaf, last, &share);
	/* Who fills a gap piece by piece is served best by two half full leaves. */
	if (!share && !(spread && is_free(leaf, first))) {
		right = cells_beside(position, true) <= cells_beside(position, false);
		beside = lock_beside(position, right, CLEAVE__CELLS, index);
	}
	if (beside) {
		add(&s, beside, right);
		if (right)
			lay_leaf(&s, 1, NULL);
		else
			lay(&s, &put);
		share_out(&s, (s.n + full - 1) / full, 0);
	} else {
		share_out(&s, alone > 1 ? alone : 2, share);
	}
	if (replace(&s)) {
		settle(&s, position->node, others);
		if (locked) {
			*locked = (struct cleave__divided){ .parent = s.copy, .above = s.above, .at = s.at };
			for (unsigned int k = s.nfresh; k-- > 0; locked->leaves = s.fresh[k])
				s.fresh[k]->link = locked->leaves;
		}
		return true;
	}
	if (beside)
		cleave__unlock_node(index, beside);
	return false;
}

/*
 * The border is to lie beside a gap, which the edited leaf gets: on its right, or its left end.  If two entries meet a
 * little further on, it better lies there: beside a gap it would move each time when the entry behind it goes.
 */
static unsigned int between_entries(const struct siblings *s, unsigned int left, bool right)
{
	for (unsigned int apart = 1; apart <= FURTHER; apart++) {
		unsigned int at = right ? left + apart : left - apart;

		if (at == 0 || at >= s->n || (right ? at : s->n - at) > CLEAVE__FULL)
			break;
		if (s->value[at - 1] && s->value[at])
			return at;
	}
	return left;
}

bool cleave__move_border(struct cleave *index, struct cleave_thread *self, const struct cleave__position *position,
			 struct cleave__node *beside, uint64_t first, uint64_t last, struct cleave__node **others)
	PORT_UNCHECKED
{
	const struct put put = { first, last, NULL };
	bool right = beside->first > position->node->first;
	unsigned int left = 0;
	struct siblings s;

	init(&s, index, self, position);
	add(&s, beside, right);
	lay(&s, &put);
	while (left < s.n && s.start[left] <= first)
		left++;
	left -= !right; /* the joint gap is the last of these */
	left = between_entries(&s, left, right);
	if (left > 0 && left < s.n && left <= CLEAVE__CELLS && s.n - left <= CLEAVE__CELLS)
		share_at(&s, left);
	else
		share_out(&s, leaves_for(s.n), 0);
	if (!replace(&s))
		return false;
	settle(&s, position->node, others);
	return true;
}

enum cleave__joined cleave__join(struct cleave *index, struct cleave_thread *self,
				 const struct cleave__position *position, struct cleave__node **others)
	PORT_UNCHECKED
{
	unsigned int count = cleave__count12(cleave__live(cleave__order_locked(cleave__leaf(position->node))));
	unsigned int most = count < CLEAVE__JOINED ? CLEAVE__JOINED - count : 0;
	struct cleave__node *beside;
	struct siblings s;
	bool right = true;

	if (!position->parent || !may_join(position->parent))
		return CLEAVE__ELSEWHERE;
	beside = lock_beside(position, right, most, index);
	if (!beside) {
		right = false;
		beside = lock_beside(position, right, most, index);
	}
	if (!beside) /* a neighbour under another parent is not looked at here */
		return position->index == 0 || position->index + 1 == position->parent->node.count ? CLEAVE__ELSEWHERE
												   : CLEAVE__NO_ROOM;
	init(&s, index, self, position);
	add(&s, beside, right);
	lay(&s, NULL);
	share_out(&s, 1, 0);
	if (replace(&s)) {
		settle(&s, position->node, others);
		return CLEAVE__JOINS;
	}
	cleave__unlock_node(index, beside);
	return CLEAVE__ELSEWHERE;
}
