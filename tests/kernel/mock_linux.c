/* SPDX-License-Identifier: ISC */
/*
 * Linux's functions, as its documentation has them: RCU with polled grace periods, spinlocks, wait queues, kmem_cache,
 * kvmalloc().  States of grace periods may be any number, 0 too.
 */
#include "host.h"
#include "mock.h"

#include <linux/bug.h>
#include <linux/printk.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/stddef.h>
#include <linux/wait_bit.h>

#define FIRST (0ul - 40) /* of the states */

static bool hold;
static unsigned long starts;

/* ---- RCU ---- */

void rcu_read_lock(void)
{
	host_section_enter();
}

void rcu_read_unlock(void)
{
	host_section_leave();
}

void synchronize_rcu(void)
{
	host_number mark = host_section_mark();

	host_may_sleep("synchronize_rcu()");
	while (!host_section_past(mark))
		host_nap(20);
}

unsigned long start_poll_synchronize_rcu(void)
{
	__atomic_add_fetch(&starts, 1, __ATOMIC_RELAXED);
	return FIRST + host_section_mark();
}

bool poll_state_synchronize_rcu(unsigned long state)
{
	return !__atomic_load_n(&hold, __ATOMIC_RELAXED) && host_section_past(state - FIRST);
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
	return __atomic_load_n(&starts, __ATOMIC_RELAXED);
}

/* ---- Spinlocks, wait queues ---- */

void spin_lock_init(spinlock_t *lock)
{
	host_mutex_init(lock);
}

int spin_trylock(spinlock_t *lock)
{
	return host_mutex_trylock(lock);
}

void spin_unlock(spinlock_t *lock)
{
	host_mutex_unlock(lock);
}

void stub_wait_begin(void)
{
	host_may_sleep("wait_var_event()");
	host_channels_lock();
}

void stub_wait_sleep(void *variable)
{
	host_channel_sleep(variable);
}

void stub_wait_end(void)
{
	host_channels_unlock();
}

void wake_up_var(void *variable)
{
	host_channel_wake(variable);
}

/* ---- kmem_cache, kvmalloc() ---- */

struct kmem_cache {
	size_t size;
	size_t align;
};

struct kmem_cache *kmem_cache_create(const char *name, unsigned int size, unsigned int align, unsigned int flags,
				     void (*constructor)(void *))
{
	struct kmem_cache *cache = host_alloc(sizeof(*cache), 16);

	if (!name || flags || constructor)
		host_fail("kmem_cache_create()");
	if (cache)
		*cache = (struct kmem_cache){ size, align };
	return cache;
}

void kmem_cache_destroy(struct kmem_cache *cache)
{
	if (cache)
		host_free(cache);
}

static void may_sleep(gfp_t gfp)
{
	if (gfp == GFP_KERNEL)
		host_may_sleep("an allocation");
}

void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp)
{
	may_sleep(gfp);
	return host_alloc(cache->size, cache->align);
}

void kmem_cache_free(struct kmem_cache *cache, void *object)
{
	(void)cache;
	host_free(object);
}

/* Powers of two are aligned to themselves, up to a page; else it is 8 bytes: 8 before the next 16. */
void *kvmalloc(size_t size, gfp_t gfp)
{
	size_t align = size & (size - 1) ? 8 : size < 4096 ? size : 4096;
	char *memory;

	may_sleep(gfp);
	memory = host_alloc(size + 4096 + align, 4096);
	if (!memory)
		return NULL;
	((char **)(void *)(memory + 4096 + (align == 8 ? 8 : 0)))[-1] = memory;
	return memory + 4096 + (align == 8 ? 8 : 0);
}

void kvfree(const void *memory)
{
	host_free(((char *const *)memory)[-1]);
}

void stub_bug(void)
{
	host_fail("BUG");
}

int _printk(const char *format, ...)
{
	host_note("%s", format);
	return 0;
}
