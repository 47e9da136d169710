/* SPDX-License-Identifier: ISC */
/*
 * libcds' AVL tree of Bronson, under libcds' own RCU: of the library's RCU trees the one made for reading.  It finds
 * exact keys only, no neighbour and no floor, so that it can hold entries by their first addresses but not say which
 * entry holds an address: no clip, no search for free space, no iteration.
 */
#include "peers.h"

#include <cds/init.h>
#include <cds/urcu/general_buffered.h>
#include <cds/container/bronson_avltree_map_rcu.h>

#include <cstdlib>
#include <mutex>

namespace
{
using gpb = cds::urcu::general_buffered<>;
using rcu = cds::urcu::gc<gpb>;

struct entry {
	uint64_t last;
	void *value;
};

struct traits : cds::container::bronson_avltree::traits {
	using less = std::less<uint64_t>;
};
using Map = cds::container::BronsonAVLTreeMap<rcu, uint64_t, entry, traits>;

struct thread_record {
	Map *map;
	bool attached; /* by this handle */
};

void begin()
{
	static std::once_flag once;

	std::call_once(once, [] {
		cds::Initialize();
		static rcu domain; /* for the rest of the program */
	});
}

void *attach(void *index)
{
	thread_record *thread = new thread_record{ static_cast<Map *>(index), false };

	if (!cds::threading::Manager::isThreadAttached()) {
		cds::threading::Manager::attachThread();
		thread->attached = true;
	}
	return thread;
}

void detach(void *self)
{
	thread_record *thread = static_cast<thread_record *>(self);

	if (thread->attached)
		cds::threading::Manager::detachThread();
	delete thread;
}

size_t insert(void *self, const cleave_entry *entries, size_t n)
{
	thread_record *thread = static_cast<thread_record *>(self);
	size_t failed = 0;

	for (size_t i = 0; i < n; i++)
		failed += !thread->map->emplace(entries[i].first, entry{ entries[i].last, entries[i].value });
	return failed;
}

size_t erase(void *self, const cleave_entry *entries, size_t n)
{
	thread_record *thread = static_cast<thread_record *>(self);
	size_t failed = 0;

	for (size_t i = 0; i < n; i++)
		failed += !thread->map->erase(entries[i].first);
	return failed;
}

void *make(const bench_impl *, const layout *layout, const cleave_entry *order)
{
	begin();

	Map *map;
	/* Made by a thread of its own kind. */
	bool attached = cds::threading::Manager::isThreadAttached();

	if (!attached)
		cds::threading::Manager::attachThread();
	map = new Map;

	thread_record thread{ map, false };

	if (insert(&thread, order ? order : layout->entries, layout->n))
		std::abort();
	if (!attached)
		cds::threading::Manager::detachThread();
	return map;
}

void destroy(void *index)
{
	bool attached = cds::threading::Manager::isThreadAttached();

	if (!attached)
		cds::threading::Manager::attachThread();
	delete static_cast<Map *>(index);
	if (!attached)
		cds::threading::Manager::detachThread();
}

/* The addresses are first addresses of entries. */
uint64_t lookup_first(void *self, const uint64_t *addrs, size_t n)
{
	thread_record *thread = static_cast<thread_record *>(self);
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		thread->map->find(addrs[i], [&sum](uint64_t, const entry &found) { sum += (uintptr_t)found.value; });
	return sum;
}

constexpr bench_impl table()
{
	bench_impl impl{};

	impl.name = "libcds AVL";
	impl.notes = "Bronson's, libcds' RCU; exact keys only: finds no entry by an address within it";
	impl.peer = true;
	impl.concurrent = true;
	impl.make = make;
	impl.destroy = destroy;
	impl.attach = attach;
	impl.detach = detach;
	impl.lookup_first = lookup_first;
	impl.erase = erase;
	impl.insert = insert;
	return impl;
}
} // namespace

extern "C" const bench_impl peer_cds;
const bench_impl peer_cds = table();
