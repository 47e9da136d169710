/* SPDX-License-Identifier: ISC */
/*
 * FreeBSD's functions, as their manual pages have them: smr(9), mutex(9), sleepqueue(9), sleep(9), uma(9), malloc(9).
 *
 * Sections do not nest, and no mutex that blocks is taken in one.  Sequence numbers are odd and soon wrap, as in a
 * kernel with INVARIANTS.
 */
#include "host.h"
#include "mock.h"

#include <sys/param.h>
#include <sys/systm.h>
#include <sys/lock.h>
#include <sys/malloc.h>
#include <sys/mutex.h>
#include <sys/proc.h>
#include <sys/sleepqueue.h>
#include <sys/smr.h>

#include <vm/uma.h>

static bool hold;
static unsigned long advances;

/* ---- smr(9) ---- */

struct smr {
	const char *name;
};

static smr_seq_t sequence_of(host_number mark)
{
	return (smr_seq_t)(2 * mark + 0xffffff01);
}

smr_t smr_create(const char *name, int limit, int flags)
{
	smr_t smr = host_alloc(sizeof(*smr), 16);

	if (limit || flags)
		host_fail("smr_create()");
	smr->name = name;
	return smr;
}

void smr_destroy(smr_t smr)
{
	host_free(smr);
}

void smr_enter(smr_t smr)
{
	if (host_section_inside())
		host_fail("smr_enter(%s) in a section", smr->name);
	host_section_enter();
}

void smr_exit(smr_t smr)
{
	(void)smr;
	host_section_leave();
}

smr_seq_t smr_advance(smr_t smr)
{
	if (host_section_inside())
		host_fail("smr_advance(%s) in a section", smr->name);
	__atomic_add_fetch(&advances, 1, __ATOMIC_RELAXED);
	return sequence_of(host_section_mark());
}

bool smr_poll(smr_t smr, smr_seq_t goal, bool wait)
{
	host_number now = host_section_mark();
	host_number mark = now - (smr_seq_t)(sequence_of(now) - goal) / 2;
	bool past;

	if (wait && host_section_inside())
		host_fail("smr_poll(%s) in a section", smr->name);
	if (!wait && __atomic_load_n(&hold, __ATOMIC_RELAXED))
		return false;
	while (!(past = host_section_past(mark)) && wait)
		host_nap(20);
	return past;
}

void smr_synchronize(smr_t smr)
{
	host_number mark = host_section_mark();

	if (host_section_inside())
		host_fail("smr_synchronize(%s) in a section", smr->name);
	while (!host_section_past(mark))
		host_nap(20);
}

void mock_start(void)
{
}

void mock_stop(void)
{
}

void mock_hold(bool on)
{
	__atomic_store_n(&hold, on, __ATOMIC_RELAXED);
}

unsigned long mock_started(void)
{
	return __atomic_load_n(&advances, __ATOMIC_RELAXED);
}

/* ---- mutex(9) ---- */

void mtx_init(struct mtx *mutex, const char *name, const char *type, int options)
{
	if (options != MTX_DEF || !name || type)
		host_fail("mtx_init()");
	host_mutex_init(mutex);
}

void mtx_destroy(struct mtx *mutex)
{
	host_mutex_destroy(mutex);
}

void mtx_lock(struct mtx *mutex)
{
	host_may_sleep("mtx_lock()");
	host_mutex_lock(mutex);
}

int mtx_trylock(struct mtx *mutex)
{
	if (host_section_inside())
		host_fail("mtx_trylock() in a section");
	return host_mutex_trylock(mutex);
}

void mtx_unlock(struct mtx *mutex)
{
	host_mutex_unlock(mutex);
}

/* ---- sleepqueue(9), sleep(9): spin mutexes ---- */

void sleepq_lock(const void *channel)
{
	(void)channel;
	host_channels_lock();
}

void sleepq_release(const void *channel)
{
	(void)channel;
	host_channels_unlock();
}

void sleepq_add(const void *channel, struct lock_object *lock, const char *message, int flags, int queue)
{
	(void)channel;
	(void)message;
	if (lock || flags != SLEEPQ_SLEEP || queue)
		host_fail("sleepq_add()");
}

void sleepq_wait(const void *channel, int priority)
{
	(void)priority;
	host_channel_sleep(channel);
}

void wakeup(const void *channel)
{
	host_channel_wake(channel);
}

/* ---- uma(9), malloc(9) ---- */

struct uma_zone {
	size_t size;
	size_t align;
};

uma_zone_t uma_zcreate(const char *name, size_t size, uma_ctor ctor, uma_dtor dtor, uma_init init, uma_fini fini,
		       int align, uint32_t flags)
{
	uma_zone_t zone = host_alloc(sizeof(*zone), 16);

	if (!name || ctor || dtor || init || fini || flags)
		host_fail("uma_zcreate()");
	zone->size = size;
	zone->align = (size_t)align + 1;
	return zone;
}

void uma_zdestroy(uma_zone_t zone)
{
	host_free(zone);
}

static void may_sleep(int flags)
{
	if (flags & M_WAITOK)
		host_may_sleep("an allocation");
	else if (!(flags & M_NOWAIT))
		host_fail("neither M_WAITOK nor M_NOWAIT");
}

void *uma_zalloc(uma_zone_t zone, int flags)
{
	may_sleep(flags);
	return host_alloc(zone->size, zone->align);
}

void uma_zfree(uma_zone_t zone, void *item)
{
	(void)zone;
	host_free(item);
}

/* It is aligned as needed for any type, no more. */
void *malloc(size_t size, struct malloc_type *type, int flags)
{
	char *memory;

	(void)type;
	may_sleep(flags);
	memory = host_alloc(size + 32, 64);
	if (!memory)
		return NULL;
	((char **)(void *)memory)[1] = memory;
	return memory + 16;
}

void *malloc_aligned(size_t size, size_t align, struct malloc_type *type, int flags)
{
	char *memory;

	(void)type;
	may_sleep(flags);
	memory = host_alloc(size + align, align);
	if (!memory)
		return NULL;
	((char **)(void *)(memory + align))[-1] = memory;
	return memory + align;
}

void free(void *memory, struct malloc_type *type)
{
	(void)type;
	host_free(((char **)memory)[-1]);
}

void panic(const char *format, ...)
{
	host_fail("panic: %s", format);
}
