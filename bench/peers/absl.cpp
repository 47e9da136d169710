/* SPDX-License-Identifier: ISC */
/* absl::btree_map under a std::shared_mutex. */
#include "ordered_map.hpp"

#include <absl/container/btree_map.h>

namespace
{
struct shape {
	struct Kind {
		static inline int64_t bytes = 0;
	};
	using Allocator = counting_allocator<std::pair<const uint64_t, ordered_entry>, Kind>;
	using Map = absl::btree_map<uint64_t, ordered_entry, std::less<uint64_t>, Allocator>;
	using Lock = std::shared_mutex;

	static void put(Map &map, Map::iterator hint, uint64_t last, const ordered_entry &entry)
	{
		map.insert(hint, { last, entry });
	}
	static Map::iterator erase(Map &map, Map::iterator at)
	{
		return map.erase(at);
	}
};

using impl = ordered_impl<shape>;

constexpr bench_impl table()
{
	bench_impl impl_table{};

	impl_table.name = "absl btree";
	impl_table.notes = "one std::shared_mutex; no search for free space";
	impl_table.peer = true;
	impl_table.concurrent = true;
	impl_table.make = impl::make;
	impl_table.destroy = impl::destroy;
	impl_table.attach = impl::attach;
	impl_table.lookup = impl::lookup;
	impl_table.lookup_each = impl::lookup_each;
	impl_table.chase = impl::chase;
	impl_table.clip = impl::clip;
	impl_table.unclip = impl::unclip;
	impl_table.clip_unclip = impl::clip_unclip;
	impl_table.erase = impl::erase;
	impl_table.insert = impl::insert;
	impl_table.store = impl::store;
	impl_table.iterate = impl::iterate;
	impl_table.size = impl::size;
	return impl_table;
}
} // namespace

extern "C" const bench_impl peer_absl;
const bench_impl peer_absl = table();
