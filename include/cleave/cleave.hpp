/* SPDX-License-Identifier: ISC */
/*
 * cleave for C++17: objects that clean up behind themselves, values with a type, entries to loop over.  Inline
 * functions on cleave.h and section.h and nothing else, so that the two may be mixed (`c()` is the C object); section.h
 * says which flavours there are.  `cleave` is a structure, so the namespace has another name.
 *
 *	namespace cl = cleave_cpp;
 *
 *	cl::domain domain;
 *	cl::thread self(domain);                               // one for each thread that uses the domain
 *	cl::index<region> index(self);
 *
 *	index.insert(self, 0x1000, 0x1fff, &code);             // [first, last]; false: something is in the way
 *	{
 *		cl::section section(self);
 *		if (auto entry = index.lookup(section, 0x1234))
 *			use(entry.first, entry.last, *entry.value);    // valid until the section ends
 *		for (auto &entry : index.entries(section))
 *			use(entry.first, entry.last, *entry.value);
 *	}
 *	cl::transaction<region> change(index, self, 0x1000, 0x4fff);
 *	change.put(0x1800, 0x27ff, &data);
 *	change.commit();                                       // otherwise its destructor aborts it
 *
 * What takes a section is called inside of it; everything else outside of sections.  Context, complexity, linearization
 * point and progress are those of the C function of the same name.
 *
 * Errors: what a caller has to expect (an overlap, nothing there, no room) is a return value.  std::bad_alloc is
 * thrown for -ENOMEM, std::invalid_argument for -EINVAL; the call has changed nothing then.
 */
#ifndef CLEAVE_CLEAVE_HPP
#define CLEAVE_CLEAVE_HPP

#include "section.h"

#if !defined(CLEAVE_SECTION_DOMAIN)
#error "define CLEAVE_SECTION_MEMB, CLEAVE_SECTION_QSBR, CLEAVE_SECTION_BP or CLEAVE_SECTION_CK (section.h)"
#endif

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <new>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <type_traits>

namespace cleave_cpp
{

/* [first, last] and its value; in a gap that is nullptr, and the entry is false. */
template <class T> struct entry {
	std::uint64_t first;
	std::uint64_t last;
	T *value;

	explicit operator bool() const noexcept
	{
		return value != nullptr;
	}
};

namespace detail
{

/* 0: true, the error that may be expected: false. */
inline bool succeeded(int error, int expected = 0)
{
	if (!error)
		return true;
	if (error == expected)
		return false;
	if (error == -ENOMEM)
		throw std::bad_alloc();
	if (error == -EINVAL)
		throw std::invalid_argument("cleave");
	throw std::system_error(-error, std::generic_category(), "cleave");
}

template <class T> entry<T> typed(const ::cleave_entry &found) noexcept
{
	return { found.first, found.last, static_cast<T *>(found.value) };
}

template <class T> void *untyped(T *value) noexcept
{
	return const_cast<std::remove_const_t<T> *>(value);
}

/* Calls a function with each entry that a change has displaced. */
template <class T, class F> struct sink : ::cleave_sink {
	F &displaced;

	explicit sink(F &function) noexcept : ::cleave_sink{ each }, displaced(function)
	{
	}

	static void each(::cleave_sink *self, const ::cleave_entry *found) noexcept
	{
		static_cast<sink *>(self)->displaced(typed<T>(*found));
	}
};

/* What stands at its address, and has one owner. */
struct fixed {
	fixed() = default;
	fixed(const fixed &) = delete;
	fixed &operator=(const fixed &) = delete;
};

} // namespace detail

/* Readers, grace periods and memory, for any number of indexes.  Outlives its threads. */
class domain : detail::fixed
{
      public:
	explicit domain(const ::cleave_memory *memory = nullptr, std::uint64_t garbage_limit = 0)
	{
		detail::succeeded(cleave_section_start(&domain_, memory, garbage_limit));
	}

	~domain()
	{
		cleave_section_stop(&domain_);
	}

	CLEAVE_SECTION_DOMAIN *c() noexcept
	{
		return &domain_;
	}

      private:
	CLEAVE_SECTION_DOMAIN domain_ = {};
};

/* The record of the thread that makes it, which alone uses and destroys it.  (ck: it stays until the domain goes.) */
class thread : detail::fixed
{
      public:
	explicit thread(domain &in) : domain_(in)
	{
		cleave_section_register(&record_, domain_.c());
	}

	~thread()
	{
		cleave_section_unregister(&record_, domain_.c());
	}

	/* The next `puts` puts allocate no node. */
	void reserve(unsigned int puts)
	{
		detail::succeeded(cleave_reserve(c(), puts));
	}

	/* Sleep until nobody can see what was displaced before; then it can be freed. */
	void wait_for_readers() noexcept
	{
		cleave_grace_wait(c(), cleave_grace_cookie(c()));
	}

	/* qsbr: now and then; else nothing. */
	void quiescent() noexcept
	{
		cleave_section_quiescent(&record_);
	}

	::cleave_thread *c() noexcept
	{
		return &record_.thread;
	}

	CLEAVE_SECTION_THREAD *record() noexcept
	{
		return &record_;
	}

      private:
	domain &domain_;
	CLEAVE_SECTION_THREAD record_ = {};
};

/* A read section, from here to the end of the block.  They are not nested. */
class [[nodiscard]] section : detail::fixed
{
      public:
	explicit section(thread &self) noexcept : record_(self.record())
	{
		cleave_section_enter(record_);
	}

	~section()
	{
		cleave_section_leave(record_);
	}

      private:
	CLEAVE_SECTION_THREAD *record_;
};

/*
 * The entries that meet a range, upward, each whole.  To be gone through once, in the section; beside writers each is
 * as it was at some instant (cleave_lookup_range_rcu()).
 */
template <class T> class entry_range
{
      public:
	struct end_of_range {
	};

	class iterator
	{
	      public:
		using iterator_category = std::input_iterator_tag;
		using value_type = entry<T>;
		using difference_type = std::ptrdiff_t;
		using pointer = const entry<T> *;
		using reference = const entry<T> &;

		explicit iterator(entry_range *range) : range_(range)
		{
			++*this;
		}

		iterator &operator++()
		{
			if (!range_->step())
				range_ = nullptr;
			return *this;
		}

		void operator++(int)
		{
			++*this;
		}

		reference operator*() const noexcept
		{
			return range_->now_;
		}

		pointer operator->() const noexcept
		{
			return &range_->now_;
		}

		friend bool operator==(const iterator &at, end_of_range) noexcept
		{
			return !at.range_;
		}

		friend bool operator!=(const iterator &at, end_of_range) noexcept
		{
			return at.range_ != nullptr;
		}

	      private:
		entry_range *range_; /* nullptr: at the end */
	};

	entry_range(const ::cleave *index, std::uint64_t first, std::uint64_t last, bool gaps) noexcept
	    : index_(index), next_(first), last_(last), gaps_(gaps), more_(first <= last)
	{
	}

	iterator begin()
	{
		return iterator(this);
	}

	end_of_range end() const noexcept
	{
		return {};
	}

      private:
	static constexpr std::size_t ahead = 16;

	bool step()
	{
		if (at_ == n_)
			look_ahead();
		if (at_ == n_)
			return false;
		now_ = detail::typed<T>(found_[at_++]);
		return true;
	}

	void look_ahead()
	{
		at_ = 0;
		n_ = more_ ? cleave_lookup_range_rcu(index_, next_, last_, gaps_, found_, ahead) : 0;
		more_ = n_ == ahead && found_[n_ - 1].last < last_;
		if (more_)
			next_ = found_[n_ - 1].last + 1;
	}

	const ::cleave *index_;
	std::uint64_t next_;
	std::uint64_t last_;
	bool gaps_;
	bool more_;
	std::size_t at_ = 0;
	std::size_t n_ = 0;
	entry<T> now_ = {};
	::cleave_entry found_[ahead];
};

/* An index.  The thread that makes it destroys it, and is there until then; the values are the caller's. */
template <class T> class index : detail::fixed
{
      public:
	explicit index(thread &maker) : maker_(maker)
	{
		detail::succeeded(cleave_init(&index_, maker_.c()));
	}

	~index()
	{
		cleave_destroy(&index_, maker_.c());
	}

	/* ---- In a section ---- */

	entry<T> lookup(const section &, std::uint64_t addr) const noexcept
	{
		::cleave_entry found;

		cleave_lookup_rcu(&index_, addr, &found);
		return detail::typed<T>(found);
	}

	/* gaps: those too. */
	entry_range<T> entries(const section &, std::uint64_t first = 0, std::uint64_t last = CLEAVE_LAST,
			       bool gaps = false) const noexcept
	{
		return { &index_, first, last, gaps };
	}

	/* nullopt: no space. */
	std::optional<std::uint64_t> find_gap(const section &, const ::cleave_request &request) const
	{
		std::uint64_t addr;

		if (!detail::succeeded(cleave_find_gap_rcu(&index_, &request, &addr), -ENOSPC))
			return std::nullopt;
		return addr;
	}

	/* ---- Outside of sections ---- */

	/* false: *conflict is the lowest entry in the way. */
	bool insert(thread &self, std::uint64_t first, std::uint64_t last, T *value, entry<T> *conflict = nullptr)
	{
		::cleave_entry in_the_way;

		int error = cleave_insert(&index_, self.c(), first, last, detail::untyped(value), &in_the_way);

		if (detail::succeeded(error, -EEXIST))
			return true;
		if (conflict)
			*conflict = detail::typed<T>(in_the_way);
		return false;
	}

	/* Whatever was there.  displaced(entry<T>) is called with each part of that; it must not throw. */
	template <class F> void store(thread &self, std::uint64_t first, std::uint64_t last, T *value, F &&displaced)
	{
		detail::sink<T, std::remove_reference_t<F>> sink(displaced);

		detail::succeeded(cleave_store(&index_, self.c(), first, last, detail::untyped(value), &sink));
	}

	void store(thread &self, std::uint64_t first, std::uint64_t last, T *value)
	{
		detail::succeeded(cleave_store(&index_, self.c(), first, last, detail::untyped(value), nullptr));
	}

	template <class F> void erase(thread &self, std::uint64_t first, std::uint64_t last, F &&displaced)
	{
		store(self, first, last, nullptr, displaced);
	}

	void erase(thread &self, std::uint64_t first, std::uint64_t last)
	{
		store(self, first, last, nullptr);
	}

	/* false: a gap holds addr. */
	bool clip(thread &self, std::uint64_t addr)
	{
		return detail::succeeded(cleave_clip(&index_, self.c(), addr), -ENOENT);
	}

	/* false: no entry begins there, or the values differ. */
	bool unclip(thread &self, std::uint64_t addr)
	{
		return detail::succeeded(cleave_unclip(&index_, self.c(), addr), -ENOENT);
	}

	/* If the entry is still exactly so.  false: `expected` is now what holds its first address. */
	bool replace_if(thread &self, entry<T> &expected, T *value)
	{
		::cleave_entry held = { expected.first, expected.last, detail::untyped(expected.value) };

		if (detail::succeeded(cleave_replace_if(&index_, self.c(), &held, detail::untyped(value)), -ENOENT))
			return true;
		expected = detail::typed<T>(held);
		return false;
	}

	/* Where it has been put; nullopt: no space. */
	std::optional<std::uint64_t> alloc(thread &self, const ::cleave_request &request, T *value)
	{
		std::uint64_t addr;

		int error = cleave_alloc(&index_, self.c(), &request, detail::untyped(value), &addr);

		if (!detail::succeeded(error, -ENOSPC))
			return std::nullopt;
		return addr;
	}

	::cleave *c() noexcept
	{
		return &index_;
	}

	const ::cleave *c() const noexcept
	{
		return &index_;
	}

      private:
	thread &maker_;
	::cleave index_ = {};
};

/* [first, last], locked for this thread, until it is committed or destroyed. */
template <class T> class transaction : detail::fixed
{
      public:
	transaction(index<T> &of, thread &self, std::uint64_t first, std::uint64_t last)
	{
		detail::succeeded(cleave_begin(&txn_, of.c(), self.c(), first, last));
	}

	~transaction()
	{
		if (open_)
			cleave_abort(&txn_);
	}

	/* As it is in the index: what is staged is not seen. */
	entry<T> lookup(std::uint64_t addr) noexcept
	{
		::cleave_entry found;

		cleave_txn_lookup(&txn_, addr, &found);
		return detail::typed<T>(found);
	}

	/* nullptr: a gap.  After std::bad_alloc the transaction is as before. */
	void put(std::uint64_t first, std::uint64_t last, T *value)
	{
		detail::succeeded(cleave_put(&txn_, first, last, detail::untyped(value)));
	}

	/* Publish all puts at one instant.  Once.  displaced(entry<T>): as for index::store(). */
	template <class F> void commit(F &&displaced) noexcept
	{
		detail::sink<T, std::remove_reference_t<F>> sink(displaced);

		open_ = false;
		cleave_commit(&txn_, &sink);
	}

	void commit() noexcept
	{
		open_ = false;
		cleave_commit(&txn_, nullptr);
	}

	::cleave_txn *c() noexcept
	{
		return &txn_;
	}

      private:
	bool open_ = true;
	::cleave_txn txn_;
};

} // namespace cleave_cpp

#endif
