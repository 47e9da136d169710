/* SPDX-License-Identifier: ISC */
#include "support.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

/* ---- Checks ---- */

static __thread char context[512];

void check_context(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(context, sizeof(context), format, arguments);
	va_end(arguments);
}

void check_failed(const char *file, int line, const char *condition, const char *format, ...)
{
	char text[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	fflush(stdout);
	fprintf(stderr, "%s:%d: %s: %s\n\twhile: %s\n", file, line, condition, text, context[0] ? context : "-");
	abort();
}

static void print_line(struct cleave_lines *lines, const char *text)
{
	(void)lines;
	fprintf(stderr, "\t%s\n", text);
}

void check_index(struct cleave *index)
{
	struct cleave_lines lines = { print_line };
	size_t violations = cleave_check(index, &lines);

	CHECK(violations == 0, "%zu violations", violations);
}

/* ---- Running ---- */

void run_uncaught(void **test)
{
	static const int caught[] = { SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGSYS };
	void *none = NULL;

	for (size_t i = 0; i < sizeof(caught) / sizeof(caught[0]); i++)
		signal(caught[i], SIG_DFL);
	((CMUnitTestFunction)(uintptr_t)*test)(&none);
}

/* ---- Seeds ---- */

/* splitmix64 */
uint64_t rng_next(struct rng *rng)
{
	uint64_t z = rng->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* A number of up to `most` from the input. */
static uint64_t from_input(struct rng *rng, uint64_t most)
{
	uint64_t x = 0;

	for (; most > 0; most >>= 8)
		x = x << 8 | (rng->input < rng->end ? *rng->input++ : 0);
	return x;
}

uint64_t rng_below(struct rng *rng, uint64_t n)
{
	if (rng->input)
		return from_input(rng, n - 1) % n;
	return rng_next(rng) % n;
}

uint64_t rng_between(struct rng *rng, uint64_t first, uint64_t last)
{
	uint64_t n = last - first + 1;

	return n ? first + rng_below(rng, n) : rng_next(rng);
}

bool rng_one_in(struct rng *rng, uint64_t n)
{
	return rng_below(rng, n) == 0;
}

uint64_t test_seed(void)
{
	const char *text = getenv("CLEAVE_TEST_SEED");
	struct timespec now;
	struct rng rng;
	uint64_t seed;

	if (text) {
		seed = strtoull(text, NULL, 0);
	} else {
		clock_gettime(CLOCK_REALTIME, &now);
		rng.state = (uint64_t)now.tv_sec * 1000000007 + (uint64_t)now.tv_nsec + ((uint64_t)getpid() << 40);
		seed = rng_next(&rng) >> 16;
	}
	printf("CLEAVE_TEST_SEED=0x%llx\n", (unsigned long long)seed);
	fflush(stdout);
	return seed;
}

uint64_t test_scaled(uint64_t n)
{
	const char *text = getenv("CLEAVE_TEST_SCALE");
	double scaled = (double)n * (text ? strtod(text, NULL) : 1.0);

	return scaled < 1 ? 1 : (uint64_t)scaled;
}

uint64_t test_stated(uint64_t quick, uint64_t stated)
{
	const char *text = getenv("CLEAVE_TEST_STATED");

	return text && strcmp(text, "0") ? stated : quick;
}

/* ---- Memory ---- */

static void count(struct cleave_word *word, uint64_t n)
{
	__atomic_fetch_add(&word->word, n, __ATOMIC_RELAXED);
}

static uint64_t counted(const struct cleave_word *word)
{
	return __atomic_load_n(&word->word, __ATOMIC_RELAXED);
}

static bool granted(struct counting_memory *memory)
{
	uint64_t left = counted(&memory->grant);

	do {
		if (left == GRANT_ALL)
			return true;
		if (left == 0)
			return false;
	} while (!__atomic_compare_exchange_n(&memory->grant.word, &left, left - 1, false, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	return true;
}

static void *counting_alloc(const struct cleave_memory *self, size_t size, size_t align)
{
	struct counting_memory *memory = (struct counting_memory *)self;
	void *node;

	CHECK(!memory->forbidden || !*memory->forbidden, "allocation inside a read section");
	if (!granted(memory)) {
		count(&memory->failed, 1);
		return NULL;
	}
	if (posix_memalign(&node, align < sizeof(void *) ? sizeof(void *) : align, size))
		return NULL;
	memset(node, 0xa5, size);
	count(&memory->live, 1);
	count(&memory->bytes, size);
	count(&memory->allocated, 1);
	return node;
}

static void counting_free(const struct cleave_memory *self, void *node, size_t size)
{
	struct counting_memory *memory = (struct counting_memory *)self;

	CHECK(node != NULL, "NULL given back");
	CHECK(counted(&memory->live) != 0, "more nodes given back than taken");
	memset(node, 0xdb, size);
	count(&memory->live, (uint64_t)-1);
	count(&memory->bytes, (uint64_t)0 - size);
	free(node);
}

void counting_memory_init(struct counting_memory *memory)
{
	*memory = (struct counting_memory){ .memory = { counting_alloc, counting_free }, .grant = { GRANT_ALL } };
}

void counting_memory_grant(struct counting_memory *memory, uint64_t n)
{
	__atomic_store_n(&memory->grant.word, n, __ATOMIC_RELAXED);
}

uint64_t counting_memory_live(struct counting_memory *memory)
{
	uint64_t live = counted(&memory->live);

	CHECK((live == 0) == (counted(&memory->bytes) == 0), "%llu nodes of %llu bytes", (unsigned long long)live,
	      (unsigned long long)counted(&memory->bytes));
	return live;
}

uint64_t counting_memory_failed(struct counting_memory *memory)
{
	return counted(&memory->failed);
}

/* ---- A domain for one thread ---- */

static struct manual_domain *manual_of(struct cleave_domain *domain)
{
	return (struct manual_domain *)domain;
}

static uint64_t manual_cookie(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)self;
	return ++manual_of(domain)->begun;
}

static bool manual_done(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	struct manual_domain *manual = manual_of(domain);

	(void)self;
	CHECK(cookie <= manual->begun, "cookie %llu was never given out", (unsigned long long)cookie);
	/* The only reader is this thread: nothing ends while it is inside. */
	if (!manual->inside &&
	    (manual->grace == GRACE_AT_ONCE || (manual->grace == GRACE_LATE && rng_one_in(&manual->rng, 8))))
		manual->ended = manual->begun;
	return cookie <= manual->ended;
}

static uint64_t manual_begun(struct cleave_domain *domain, struct cleave_thread *self)
{
	struct manual_domain *manual = manual_of(domain);

	(void)self;
	CHECK(manual->inside, "asks what has begun outside of a read section");
	return manual->ended + 1; /* nothing ends while this thread is inside */
}

static void manual_advance(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	struct manual_domain *manual = manual_of(domain);

	(void)self;
	CHECK(!manual->inside, "advance inside a read section");
	CHECK(cookie <= manual->begun, "cookie %llu was never given out", (unsigned long long)cookie);
	if (manual->grace == GRACE_LATE && rng_one_in(&manual->rng, 2))
		manual->ended = manual->begun;
}

static void manual_wait(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	struct manual_domain *manual = manual_of(domain);

	(void)self;
	CHECK(!manual->inside, "a wait for a grace period inside a read section");
	CHECK(cookie <= manual->begun, "cookie %llu was never given out", (unsigned long long)cookie);
	manual->ended = manual->begun;
}

static void manual_ops_enter(struct cleave_domain *domain, struct cleave_thread *self)
{
	struct manual_domain *manual = manual_of(domain);

	(void)self;
	CHECK(!manual->inside, "read sections need not nest");
	manual->inside = true;
}

static void manual_ops_leave(struct cleave_domain *domain, struct cleave_thread *self)
{
	struct manual_domain *manual = manual_of(domain);

	(void)self;
	CHECK(manual->inside, "not in a read section");
	manual->inside = false;
}

static int manual_inside(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)self;
	return manual_of(domain)->inside;
}

static void manual_park(struct cleave_domain *domain, struct cleave_thread *self, struct cleave_word32 *word,
			uint32_t seen)
{
	(void)domain;
	(void)self;
	(void)word;
	(void)seen;
	CHECK(false, "the only thread parks: it waits for itself");
}

static void manual_wake(struct cleave_domain *domain, struct cleave_word32 *word)
{
	(void)domain;
	(void)word;
}

static const struct cleave_ops manual_ops = {
	.cookie = manual_cookie,
	.cookie_stored = manual_cookie,
	.done = manual_done,
	.begun = manual_begun,
	.advance = manual_advance,
	.wait = manual_wait,
	.enter = manual_ops_enter,
	.leave = manual_ops_leave,
	.inside = manual_inside,
	.park = manual_park,
	.wake = manual_wake,
};

void manual_start(struct manual_domain *manual, enum grace grace, const char *search, uint64_t garbage_limit)
{
	const struct cleave__search *walk = NULL;

	memset(manual, 0, sizeof(*manual));
	manual->grace = grace;
	manual->rng.state = (uint64_t)grace + 1;
	counting_memory_init(&manual->memory);
	manual->memory.forbidden = &manual->inside;
	if (search) {
		walk = cleave_search_named(search);
		CHECK(walk != NULL, "no walk named %s", search);
	}
	cleave_domain_init(&manual->domain, &manual_ops, &manual->memory.memory, walk, garbage_limit);
	cleave_thread_init(&manual->self, &manual->domain);
}

void manual_stop(struct manual_domain *manual)
{
	uint64_t live;

	cleave_thread_exit(&manual->self);
	cleave_domain_exit(&manual->domain);
	live = counting_memory_live(&manual->memory);
	CHECK(live == 0, "%llu nodes leaked", (unsigned long long)live);
}

void manual_enter(struct manual_domain *manual)
{
	manual_ops_enter(&manual->domain, &manual->self);
}

void manual_leave(struct manual_domain *manual)
{
	manual_ops_leave(&manual->domain, &manual->self);
}
