/* SPDX-License-Identifier: ISC */
/* cleave.hpp: against a std::map, beside readers, without memory.  Also compiled where the library is installed. */
#include <cleave/cleave.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <thread>
#include <vector>

namespace cl = cleave_cpp;

#define CHECK(condition)                                                                     \
	do {                                                                                 \
		if (!(condition)) {                                                          \
			std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			std::abort();                                                        \
		}                                                                            \
	} while (0)

template <class E, class F> static bool throws(F &&call)
{
	try {
		call();
	} catch (const E &) {
		return true;
	}
	return false;
}

/* Addresses of the model; what is above is a gap. */
static constexpr std::uint64_t top = 200;

/* The value of each address, and whether an entry begins there. */
struct model {
	const int *value[top] = {};
	bool begins[top] = {};

	cl::entry<const int> at(std::uint64_t addr) const
	{
		std::uint64_t first = addr, last = addr;

		while (first > 0 && !begins[first] && (value[first] || !value[first - 1]))
			first--;
		while (last + 1 < top && !begins[last + 1] && (value[last] || !value[last + 1]) &&
		       value[last] == value[last + 1])
			last++;
		return { first, last + 1 == top && !value[last] ? CLEAVE_LAST : last, value[addr] };
	}

	void store(std::uint64_t first, std::uint64_t last, const int *what)
	{
		if (last + 1 < top)
			begins[last + 1] = value[last + 1] != nullptr;
		for (std::uint64_t addr = first; addr <= last; addr++) {
			value[addr] = what;
			begins[addr] = false;
		}
		begins[first] = what != nullptr;
	}
};

static bool same(const cl::entry<const int> &a, const cl::entry<const int> &b)
{
	return a.first == b.first && a.last == b.last && a.value == b.value;
}

static void compare(cl::index<const int> &index, cl::thread &self, const model &model)
{
	std::uint64_t next = 0, sum = 0, mapped = 0;
	cl::section section(self);

	for (std::uint64_t addr = 0; addr < top; addr++) {
		CHECK(same(index.lookup(section, addr), model.at(addr)));
		mapped += model.value[addr] != nullptr;
	}
	for (auto &entry : index.entries(section)) {
		CHECK(entry.first >= next && same(entry, model.at(entry.first)));
		sum += entry.last - entry.first + 1;
		next = entry.last + 1;
	}
	CHECK(sum == mapped);
	next = 0;
	for (auto &entry : index.entries(section, 0, CLEAVE_LAST, true)) {
		CHECK(entry.first == next);
		next = entry.last + 1;
	}
	CHECK(next == 0); /* all addresses */
}

static void against_a_model(cl::thread &self)
{
	static const int values[4] = {};
	std::mt19937_64 random(1);
	cl::index<const int> index(self);
	model model;

	for (unsigned int step = 0; step < 3000; step++) {
		std::uint64_t first = random() % top, last = first + random() % (top - first < 20 ? top - first : 20);
		const int *value = &values[random() % 4];
		cl::entry<const int> found = model.at(first);
		std::uint64_t displaced = 0, expected = 0;

		switch (random() % 6) {
		case 0: {
			cl::entry<const int> conflict = {}, lowest = found;

			while (!lowest && lowest.last < last)
				lowest = model.at(lowest.last + 1);
			CHECK(index.insert(self, first, last, value, &conflict) == !lowest);
			if (lowest)
				CHECK(same(conflict, lowest));
			else
				model.store(first, last, value);
			break;
		}
		case 1:
			for (std::uint64_t addr = first; addr <= last; addr++)
				expected += model.value[addr] != nullptr;
			index.store(self, first, last, value, [&](const cl::entry<const int> &entry) {
				CHECK(entry.value == model.value[entry.first]);
				displaced += entry.last - entry.first + 1;
			});
			CHECK(displaced == expected);
			model.store(first, last, value);
			break;
		case 2:
			index.erase(self, first, last);
			model.store(first, last, nullptr);
			break;
		case 3:
			CHECK(index.clip(self, first) == !!found);
			model.begins[first] = !!found;
			break;
		case 4: {
			bool joins = first > 0 && found && model.begins[first] && model.value[first - 1] == found.value;

			CHECK(index.unclip(self, first) == joins);
			if (joins)
				model.begins[first] = false;
			break;
		}
		default: {
			cl::transaction<const int> change(index, self, first, last);

			CHECK(same(change.lookup(first), found));
			change.put(first, last, value);
			change.put(last, last, nullptr);
			CHECK(same(change.lookup(first), found));
			if (step & 1)
				break; /* it is aborted */
			change.commit([&](const cl::entry<const int> &) { displaced++; });
			model.store(first, last, value);
			model.store(last, last, nullptr);
			break;
		}
		}
		compare(index, self, model);
		self.quiescent();
	}
}

static void results(cl::thread &self)
{
	int one = 1, two = 2;
	cl::index<int> index(self);
	cl::entry<int> entry = { 10, 19, &one };
	cleave_request request = { CLEAVE_LOWEST, 5, 0, 0, 0, 24, 0 };

	CHECK(index.insert(self, 10, 19, &one));
	CHECK(throws<std::invalid_argument>([&] { index.insert(self, 9, 8, &one); }));
	CHECK(throws<std::invalid_argument>([&] { index.insert(self, 30, 40, nullptr); }));
	CHECK(throws<std::invalid_argument>([&] { cl::transaction<int> change(index, self, 9, 8); }));
	CHECK(index.replace_if(self, entry, &two));
	CHECK(!index.replace_if(self, entry, &two));
	CHECK(entry.first == 10 && entry.last == 19 && entry.value == &two);
	CHECK(index.alloc(self, request, &one) == 0u);
	CHECK(index.alloc(self, request, &one) == 5u);
	CHECK(index.alloc(self, request, &one) == 20u);
	CHECK(!index.alloc(self, request, &one));
	{
		cl::section section(self);

		request.max = 40;
		CHECK(index.find_gap(section, request) == 25u);
		request.max = 28;
		CHECK(!index.find_gap(section, request));
		for (auto &none : index.entries(section, 9, 8))
			CHECK(none.first > CLEAVE_LAST);
	}
	CHECK(cleave_check(index.c(), nullptr) == 0);
}

/* What a transaction was going to do is undone when an exception passes by. */
static void exceptions(cl::thread &self)
{
	int one = 1;
	cl::index<int> index(self);

	CHECK(throws<int>([&] {
		cl::transaction<int> change(index, self, 0, CLEAVE_LAST);

		change.put(0, 99, &one);
		throw 7;
	}));
	cl::section section(self);
	CHECK(!index.lookup(section, 50));
}

/* Versions of a pair, stored by one transaction, are seen together or not at all: each range has one value. */
static void beside_readers(cl::domain &domain, cl::thread &self)
{
	static constexpr std::uint64_t ranges = 64, size = 16;
	struct region {
		std::uint64_t first;
		std::atomic<bool> freed{ false };
	};
	cl::index<region> index(self);
	std::atomic<bool> over{ false };
	std::vector<std::thread> readers;

	for (std::uint64_t i = 0; i < ranges; i++)
		index.store(self, i * size, i * size + size - 1, new region{ i * size });
	for (unsigned int i = 0; i < 2; i++)
		readers.emplace_back([&] {
			cl::thread reader(domain);

			while (!over) {
				{
					cl::section section(reader);
					std::uint64_t n = 0;

					for (auto &entry : index.entries(section)) {
						CHECK(entry.first == entry.value->first && !entry.value->freed);
						CHECK(entry.last == entry.first + size - 1);
						n++;
					}
					CHECK(n == ranges);
				}
				reader.quiescent();
			}
		});
	for (unsigned int i = 0; i < 300; i++) {
		std::uint64_t first = i * 7 % ranges * size;
		std::vector<region *> old;

		index.store(self, first, first + size - 1, new region{ first },
			    [&](const cl::entry<region> &entry) { old.push_back(entry.value); });
		CHECK(old.size() == 1);
		self.wait_for_readers();
		old[0]->freed = true;
		delete old[0];
	}
	over = true;
	for (auto &reader : readers)
		reader.join();
	index.erase(self, 0, CLEAVE_LAST, [](const cl::entry<region> &entry) { delete entry.value; });
}

/* A memory that has nothing left, from some time on. */
struct scarce : cleave_memory {
	bool empty = false;

	scarce() : cleave_memory{ take, give }
	{
	}

	static void *take(const cleave_memory *memory, std::size_t size, std::size_t align)
	{
		if (static_cast<const scarce *>(memory)->empty)
			return nullptr;
		return cleave_memory_libc.alloc(&cleave_memory_libc, size, align);
	}

	static void give(const cleave_memory *, void *node, std::size_t size)
	{
		cleave_memory_libc.free(&cleave_memory_libc, node, size);
	}
};

static void without_memory()
{
	static const int value = 0;
	scarce memory;
	cl::domain domain(&memory);
	cl::thread self(domain);
	cl::index<const int> index(self);
	std::uint64_t n = 0, found = 0;

	memory.empty = true;
	CHECK(throws<std::bad_alloc>([&] {
		for (;; n++)
			index.insert(self, 2 * n, 2 * n, &value);
	}));
	CHECK(throws<std::bad_alloc>([&] { cl::index<int> another(self); }));
	CHECK(throws<std::bad_alloc>([&] { self.reserve(100); }));
	{
		cl::section section(self);

		for (auto &entry : index.entries(section))
			CHECK(entry.first == 2 * found++);
	}
	CHECK(n > 0 && found == n);
	memory.empty = false;
	CHECK(index.insert(self, 2 * n, 2 * n, &value));
}

static_assert(!std::is_copy_constructible_v<cl::domain> && !std::is_copy_constructible_v<cl::thread> &&
	      !std::is_copy_constructible_v<cl::section> && !std::is_copy_constructible_v<cl::index<int>> &&
	      !std::is_copy_constructible_v<cl::transaction<int>>);

int main()
{
	{
		cl::domain domain;
		cl::thread self(domain);

		against_a_model(self);
		results(self);
		exceptions(self);
		beside_readers(domain, self);
	}
	without_memory();
	std::puts("passed");
	return 0;
}
