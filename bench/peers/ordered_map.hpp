/* SPDX-License-Identifier: ISC */
/*
 * An implementation from any ordered map of C++ with a lock: the key is an entry's last address, so that the lower
 * bound of an address is the entry that holds it, if any does.
 *
 * Shape supplies Kind (with `bytes`), Map (from uint64_t to ordered_entry, with the allocator below), Lock, put and
 * erase.
 */
#ifndef BENCH_ORDERED_MAP_HPP
#define BENCH_ORDERED_MAP_HPP

#include "peers.h"

#include <cstdlib>
#include <memory>
#include <mutex>
#include <shared_mutex>

/*
 * Counts what the maps of one kind hold.  A plain count: maps change under their lock, and one of a kind at a time.
 */
template <class T, class Kind> struct counting_allocator {
	using value_type = T;
	template <class U> struct rebind {
		using other = counting_allocator<U, Kind>;
	};

	counting_allocator() = default;
	template <class U> counting_allocator(const counting_allocator<U, Kind> &)
	{
	}
	T *allocate(size_t n)
	{
		size_t size = n * sizeof(T);
		void *piece = alignof(T) > 16 ? std::aligned_alloc(alignof(T), size) : std::malloc(size);

		Kind::bytes += (int64_t)peers_malloc_size(size);
		return static_cast<T *>(need(piece));
	}
	void deallocate(T *piece, size_t n)
	{
		Kind::bytes -= (int64_t)peers_malloc_size(n * sizeof(T));
		std::free(piece);
	}
	template <class U> bool operator==(const counting_allocator<U, Kind> &) const
	{
		return true;
	}
	template <class U> bool operator!=(const counting_allocator<U, Kind> &) const
	{
		return false;
	}
};

struct ordered_entry {
	uint64_t first;
	void *value;
};

struct no_lock {
	void lock()
	{
	}
	void unlock()
	{
	}
	void lock_shared()
	{
	}
	void unlock_shared()
	{
	}
};

template <class Shape> struct ordered_map {
	using Map = typename Shape::Map;

	alignas(64) typename Shape::Lock mutex;
	alignas(64) Map map;

	using Write = std::unique_lock<typename Shape::Lock>;
	using Read = std::shared_lock<typename Shape::Lock>;

	void *search(uint64_t addr) const
	{
		auto found = map.lower_bound(addr);

		return found != map.end() && found->second.first <= addr ? found->second.value : nullptr;
	}

	bool clip(uint64_t addr)
	{
		Write write(mutex);
		auto upper = map.lower_bound(addr);

		if (upper == map.end() || upper->second.first > addr)
			return false;
		if (upper->second.first == addr)
			return true;

		ordered_entry lower = upper->second;

		upper->second.first = addr;
		Shape::put(map, upper, addr - 1, lower);
		return true;
	}

	bool unclip(uint64_t addr)
	{
		Write write(mutex);
		auto lower = map.lower_bound(addr - 1);

		if (lower == map.end() || lower->first != addr - 1)
			return false;

		auto upper = std::next(lower);

		if (upper == map.end() || upper->second.first != addr || upper->second.value != lower->second.value)
			return false;
		upper->second.first = lower->second.first;
		Shape::erase(map, lower);
		return true;
	}

	bool insert(const cleave_entry &entry)
	{
		Write write(mutex);
		auto next = map.lower_bound(entry.first);

		if (next != map.end() && next->second.first <= entry.last)
			return false;
		Shape::put(map, next, entry.last, ordered_entry{ entry.first, entry.value });
		return true;
	}

	void replace(uint64_t first, uint64_t last, void *value)
	{
		Write write(mutex);
		auto at = map.lower_bound(first);

		if (at != map.end() && at->second.first < first) {
			ordered_entry lower = at->second;

			at->second.first = first;
			Shape::put(map, at, first - 1, lower);
			at = map.lower_bound(first); /* a btree's iterators do not survive that */
		}
		while (at != map.end() && at->first <= last)
			at = Shape::erase(map, at);
		if (at != map.end() && at->second.first <= last)
			at->second.first = last + 1;
		if (value)
			Shape::put(map, at, last, ordered_entry{ first, value });
	}
};

/* The table of functions over it. */
template <class Shape> struct ordered_impl {
	using Index = ordered_map<Shape>;

	static Index *of(void *self)
	{
		return static_cast<Index *>(self);
	}
	static void *make(const bench_impl *, const layout *layout, const cleave_entry *order)
	{
		Index *index = new Index;

		if (insert(index, order ? order : layout->entries, layout->n))
			std::abort();
		return index;
	}
	static void destroy(void *self)
	{
		delete of(self);
	}
	static void *attach(void *self)
	{
		return self;
	}
	static uint64_t lookup(void *self, const uint64_t *addrs, size_t n)
	{
		typename Index::Read read(of(self)->mutex);
		uint64_t sum = 0;

		for (size_t i = 0; i < n; i++)
			sum += (uintptr_t)of(self)->search(addrs[i]);
		return sum;
	}
	static uint64_t lookup_each(void *self, const uint64_t *addrs, size_t n)
	{
		uint64_t sum = 0;

		for (size_t i = 0; i < n; i++) {
			typename Index::Read read(of(self)->mutex);

			sum += (uintptr_t)of(self)->search(addrs[i]);
		}
		return sum;
	}
	static uint64_t chase(void *self, const uint64_t *addrs, size_t n, uint64_t zero)
	{
		typename Index::Read read(of(self)->mutex);
		uint64_t value = 0;

		for (size_t i = 0; i < n; i++)
			value = (uintptr_t)of(self)->search(addrs[i] + (value & zero));
		return value;
	}
	static size_t clip(void *self, const uint64_t *addrs, size_t n)
	{
		size_t failed = 0;

		for (size_t i = 0; i < n; i++)
			failed += !of(self)->clip(addrs[i]);
		return failed;
	}
	static size_t unclip(void *self, const uint64_t *addrs, size_t n)
	{
		size_t failed = 0;

		for (size_t i = 0; i < n; i++)
			failed += !of(self)->unclip(addrs[i]);
		return failed;
	}
	static size_t clip_unclip(void *self, const uint64_t *addrs, size_t n)
	{
		size_t failed = 0;

		for (size_t i = 0; i < n; i++) {
			failed += !of(self)->clip(addrs[i]);
			failed += !of(self)->unclip(addrs[i]);
		}
		return failed;
	}
	static size_t insert(void *self, const cleave_entry *entries, size_t n)
	{
		size_t failed = 0;

		for (size_t i = 0; i < n; i++)
			failed += !of(self)->insert(entries[i]);
		return failed;
	}
	static size_t erase(void *self, const cleave_entry *entries, size_t n)
	{
		for (size_t i = 0; i < n; i++)
			of(self)->replace(entries[i].first, entries[i].last, nullptr);
		return 0;
	}
	static size_t store(void *self, const cleave_entry *entries, size_t n)
	{
		for (size_t i = 0; i < n; i++)
			of(self)->replace(entries[i].first, entries[i].last, entries[i].value);
		return 0;
	}
	static size_t iterate(void *self, uint64_t *sum)
	{
		typename Index::Read read(of(self)->mutex);
		size_t entries = 0;

		for (const auto &entry : of(self)->map) {
			if (!entry.second.value)
				continue;
			entries++;
			*sum += bench_sum(entry.second.first, entry.first, entry.second.value);
		}
		return entries;
	}
	static void size(void *self, size_t *entries, size_t *bytes)
	{
		uint64_t sum = 0;

		*entries = iterate(self, &sum);
		*bytes = (size_t)Shape::Kind::bytes;
	}
};

#endif
