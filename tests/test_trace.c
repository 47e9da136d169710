/* SPDX-License-Identifier: ISC */
/*
 * The reader of recordings and the model they are replayed on: undamaged recordings match their
 * snapshots, damaged ones are refused or read, but never crash. Run it with the sanitizers.
 *
 *	test_trace [FOLDER]	FOLDER (or $CLEAVE_TRACES) holds the recordings
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

#include "scale.h"
#include "space_model.h"
#include "trace.h"

#define TEXT_DAMAGES	600
#define PAGE		UINT64_C(4096)

static const char *folder;
static char damaged[] = "/tmp/cleave-test-trace-XXXXXX";

struct bytes {
	char *data;
	size_t size;
};

static struct bytes
read_recording(const char *name)
{
	struct bytes bytes = { 0 };
	char path[4096];
	FILE *file;
	long size;

	snprintf(path, sizeof(path), "%s/%s.trace.zst", folder, name);
	file = fopen(path, "rb");
	if (!file)
		fail_msg("%s: %s", path, strerror(errno));
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	size = ftell(file);
	assert_true(size > 0);
	rewind(file);
	bytes.size = (size_t)size;
	bytes.data = malloc(bytes.size);
	assert_non_null(bytes.data);
	assert_int_equal(fread(bytes.data, 1, bytes.size, file), bytes.size);
	fclose(file);
	return bytes;
}

static void
write_damaged(const char *data, size_t size)
{
	FILE *file = fopen(damaged, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

/* The text of a recording; it is small. */
static struct bytes
unpack(const struct bytes *packed)
{
	size_t room = 8 << 20;
	struct bytes text = { malloc(room), 0 };

	assert_non_null(text.data);
	text.size = ZSTD_decompress(text.data, room, packed->data, packed->size);
	assert_false(ZSTD_isError(text.size));
	return text;
}

static void
pack_damaged(const char *text, size_t size)
{
	size_t room = ZSTD_compressBound(size);
	char *packed = malloc(room);

	assert_non_null(packed);
	room = ZSTD_compress(packed, room, text, size, 1);
	assert_false(ZSTD_isError(room));
	write_damaged(packed, room);
	free(packed);
}

/* ---- Replaying ---- */

struct check {
	struct space_model *model;
	size_t compared;
	size_t mismatches;
};

static int
check_effect(void *context, const struct space_effect *effect)
{
	struct check *check = context;
	struct space_difference difference;

	if (effect->kind != SPACE_SNAPSHOT)
		return space_model_effect(check->model, effect);
	check->compared++;
	if (!space_model_matches(check->model, effect->process, effect->ranges, effect->count,
				 SPACE_COMPARE_ALL, &difference))
		check->mismatches++;
	return 0;
}

static bool
check_next(void *context, uint32_t process, uint64_t from, struct space_range *range)
{
	const struct check *check = context;

	return space_model_next(check->model, process, from, range);
}

static const struct space_ops check_ops = { check_effect, check_next };

#define LEAVE_NOTHING_OUT	SIZE_MAX

static struct check
replay_without(const struct trace_log *log, size_t left_out)
{
	struct check check = { 0 };
	struct space *space;

	assert_int_equal(space_model_create(&check.model), 0);
	assert_int_equal(space_create(&space, &check_ops, &check), 0);
	for (size_t i = 0; i < log->count; i++)
		if (i != left_out)
			assert_int_equal(space_apply(space, &log->event[i]), 0);
	space_destroy(space);
	space_model_destroy(check.model);
	return check;
}

static struct check
replay(const struct trace_log *log)
{
	return replay_without(log, LEAVE_NOTHING_OUT);
}

static struct trace_log *
load(const char *name)
{
	struct trace_log *log;
	char path[4096], message[256];

	snprintf(path, sizeof(path), "%s/%s.trace.zst", folder, name);
	if (trace_load(&log, path, message, sizeof(message)))
		fail_msg("%s: %s", path, message);
	return log;
}

/*
 * What a damaged file must give: a message and an error, or events which can be replayed (they
 * need not match). Return whether it was read to its end.
 */
static bool
try_damaged(void)
{
	struct trace_log *log;
	char message[256] = "";
	int result = trace_load(&log, damaged, message, sizeof(message));

	if (result) {
		assert_true(result < 0);
		assert_null(log);
		assert_true(strlen(message) > 0);
		return false;
	}
	replay(log);
	trace_unload(log);
	return true;
}

/* ---- Tests ---- */

static void
recordings_match(void **state)
{
	static const char *const names[] = { "gcc", "python", "special" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct trace_log *log = load(names[i]);
		struct check check = replay(log);

		assert_true(check.compared > 0);
		assert_int_equal(check.mismatches, 0);
		trace_unload(log);
	}
}

/* The comparison must notice: most of the calls whose effect lasts until a snapshot. */
static void
missing_call_is_noticed(void **state)
{
	struct trace_log *log = load("gcc");
	size_t tried = 0, noticed = 0;

	(void)state;
	for (size_t i = 0; i < log->count; i++) {
		if (log->event[i].kind != TRACE_MAP && log->event[i].kind != TRACE_BRK)
			continue;
		tried++;
		noticed += replay_without(log, i).mismatches > 0;
	}
	assert_true(tried > 100);
	assert_true(noticed > tried / 4);
	trace_unload(log);
}

/* Headers and trailers are tried byte by byte. */
static bool
near_end(size_t at, size_t size)
{
	return at < 64 || at + 64 > size;
}

static void
truncated_is_refused(void **state)
{
	struct bytes packed = read_recording("gcc");

	(void)state;
	for (size_t size = 0; size < packed.size; size += near_end(size, packed.size) ? 1 : 5) {
		write_damaged(packed.data, size);
		assert_false(try_damaged());
	}
	free(packed.data);
}

/* Some bits of a zstd frame mean nothing: what is accepted must unpack to the same text. */
static void
flipped_bit_is_refused(void **state)
{
	struct bytes packed = read_recording("gcc"), text = unpack(&packed);
	size_t accepted = 0;

	(void)state;
	for (size_t i = 0; i < packed.size; i += near_end(i, packed.size) ? 1 : 4) {
		char bit = (char)(1 << (i * 5 % 8));

		packed.data[i] ^= bit;
		write_damaged(packed.data, packed.size);
		if (try_damaged()) {
			struct bytes other = unpack(&packed);

			assert_int_equal(other.size, text.size);
			assert_memory_equal(other.data, text.data, text.size);
			free(other.data);
			accepted++;
		}
		packed.data[i] ^= bit;
	}
	assert_true(accepted < packed.size / 100);
	free(text.data);
	free(packed.data);
}

static void
appended_is_refused(void **state)
{
	struct bytes packed = read_recording("gcc"), text = unpack(&packed);
	char *longer = malloc(packed.size + 1);

	(void)state;
	assert_non_null(longer);
	memcpy(longer, packed.data, packed.size);
	longer[packed.size] = 'x';
	write_damaged(longer, packed.size + 1);
	assert_false(try_damaged());
	write_damaged("", 0);
	assert_false(try_damaged());
	pack_damaged("", 0);
	assert_false(try_damaged());
	pack_damaged(text.data, text.size);
	assert_true(try_damaged());
	text.data[text.size] = '\n';		/* there is room */
	pack_damaged(text.data, text.size + 1);
	assert_false(try_damaged());
	free(longer);
	free(text.data);
	free(packed.data);
}

/* Behind the back of the checksum: bytes of the text changed, lines cut out and swapped. */
static void
damaged_text(void **state)
{
	static const char digits[] = "0123456789abcdef -\nmap";
	struct bytes packed = read_recording("special"), text = unpack(&packed);
	size_t size = text.size < 60000 ? text.size : 60000, read = 0;
	unsigned seed = 1;
	char *copy = malloc(text.size);

	(void)state;
	assert_non_null(copy);
	for (int i = 0; i < TEXT_DAMAGES; i++) {
		size_t at = (size_t)rand_r(&seed) % size;

		memcpy(copy, text.data, size);
		memcpy(copy + size - 200, text.data + text.size - 200, 200);
		switch (i % 4) {
		case 0:
			copy[at] = digits[(size_t)rand_r(&seed) % (sizeof(digits) - 1)];
			break;
		case 1:
			copy[at] = (char)rand_r(&seed);
			break;
		case 2:
			memmove(copy + at, copy + at + (size - at) / 2, (size - at) / 2);
			break;
		default:
			memset(copy + at, 'f', size - at < 12 ? size - at : 12);
			break;
		}
		pack_damaged(copy, size);
		read += try_damaged();
	}
	/* The whole text with a digit of an address changed: this must often be readable. */
	for (int i = 0; i < 200; i++) {
		size_t at = (size_t)rand_r(&seed) % text.size;
		char was = text.data[at];

		if (!strchr("123456789abcdef", was))
			continue;
		text.data[at] = digits[(size_t)rand_r(&seed) % 16];
		pack_damaged(text.data, text.size);
		read += try_damaged();
		text.data[at] = was;
	}
	assert_true(read > 10);
	free(copy);
	free(text.data);
	free(packed.data);
}

/* Lines which are wrong each in one way. */
static void
wrong_lines(void **state)
{
	static const char *const lines[] = {
		"fork 2 0\n", "fork 1 1\n", "fork 3 1\n", "exec 2 7 0\n", "share 2\n", "exit 0\n",
		"map 1 0 0 1 pa 0 0 5\n", "map 1 0 1 1 pz 0 0 5\n", "map 1 0 1 1 pa 0 0\n",
		"map 1 0 1 1 pa 0 0 5 6\n", "map 1 0 2 1 pa 0 0 fffffffffffff\n",
		"map 1 0 1 20 pa 0 0 5\n", "map 1 0 1 1 pa 4294967296 0 5\n",
		"map 1 0 1 1 pa 0 0 -5000\n", "map 1 0 1 1 pa 0 0 -0\n", "map 1 0 1 1 pa 0 0 -\n",
		"unmap 1 10000000000000 1 0\n", "unmap 1 5 0 0\n", "unmap 1 5 1 1\n",
		"unmap 1 5 -1 0\n", "unmap  1 5 1 0\n", "unmap 1 00000000000000005 1 0\n",
		"advise 1 5 1 nothing 0\n", "advise 1 5 1  0\n", "remap 1 5 1 1 x 0 6\n",
		"snapshot 1 1\nshare 1\n", "snapshot 1 2\n- 5 2 1 0 0\n- 6 1 1 0 0\n",
		"snapshot 1 99999999\n", "- 5 1 1 0 0\n", "nonsense 1\n", "\n", " share 1\n",
		"exit 1\nshare 1\n", "end 1 0\n",
	};
	char text[400];

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		int events = strstr(lines[i], "1\nshare") ? 3 : 2;
		int snapshots = strncmp(lines[i], "snapshot", 8) == 0;

		snprintf(text, sizeof(text), "cleave-trace 1 4096\nexec 1 0 0\n%send %d %d\n",
			 lines[i], events, snapshots);
		pack_damaged(text, strlen(text));
		if (try_damaged())
			fail_msg("accepted: %s", lines[i]);
	}
	snprintf(text, sizeof(text), "cleave-trace 1 4096\nexec 1 0 0\nshare 1\nend 2 0\n");
	pack_damaged(text, strlen(text));
	assert_true(try_damaged());
}

static void
no_such_file(void **state)
{
	struct trace *trace;
	char message[256] = "";

	(void)state;
	assert_int_equal(trace_open(&trace, "/nowhere/at/all", message, sizeof(message)), -ENOENT);
	assert_true(strlen(message) > 0);
	assert_true(trace_open(&trace, "/", message, sizeof(message)) < 0);
}

static void
scaled_state(void **state)
{
	struct trace_log *log = load("python");
	struct scale *scale, *again;
	size_t recorded;

	(void)state;
	assert_int_equal(scale_peak(&scale, log, 0, 1), 0);
	recorded = scale->count;
	assert_int_equal(scale->recorded, recorded);
	scale_free(scale);
	assert_int_equal(scale_peak(&scale, log, 6849, 1), 1);
	assert_int_equal(scale_peak(&again, log, 6849, 1), 1);
	assert_int_equal(scale->count, 6849);
	assert_int_equal(scale->recorded, recorded);
	assert_memory_equal(scale->range, again->range, scale->count * sizeof(*scale->range));
	for (size_t i = 0; i < scale->count; i++) {
		assert_true(scale->range[i].start < scale->range[i].end);
		assert_int_equal(scale->range[i].start % PAGE, 0);
		assert_true(i == 0 || scale->range[i - 1].end <= scale->range[i].start);
	}
	scale_free(again);
	assert_int_equal(scale_peak(&again, log, 6849, 2), 1);
	assert_memory_not_equal(scale->range, again->range, scale->count * sizeof(*scale->range));
	scale_free(again);
	scale_free(scale);
	trace_unload(log);
}

/* mremap in all its forms, on a model with pages 10 to 20: the middle read-only. */
static void
remap_forms(void **state)
{
	static const struct {
		struct trace_event event;
		uint64_t page;		/* what is there after it */
		int prot;		/* -1: nothing */
	} forms[] = {
		{ { .address = 10, .length = 10, .new_length = 4, .placed = 10 }, 14, -1 },
		{ { .address = 10, .length = 10, .new_length = 4, .placed = 10 }, 13, 3 },
		{ { .address = 18, .length = 2, .new_length = 5, .placed = 18 }, 22, 3 },
		{ { .address = 14, .length = 2, .new_length = 5, .placed = 40 }, 44, 1 },
		{ { .address = 14, .length = 2, .new_length = 5, .placed = 40 }, 15, -1 },
		{ { .address = 14, .length = 2, .new_length = 2, .placed = 40,
		    .flags = TRACE_REMAP_KEEP }, 15, 1 },
		{ { .address = 14, .length = 0, .new_length = 2, .placed = 40 }, 41, 1 },
		{ { .address = 14, .length = 0, .new_length = 2, .placed = 40 }, 14, 1 },
		{ { .address = 10, .length = 10, .new_length = 10, .placed = 40 }, 45, 1 },
		{ { .address = 10, .length = 10, .new_length = 5, .placed = 40 }, 45, -1 },
		{ { .address = 10, .length = 10, .new_length = 5, .placed = 40 }, 18, -1 },
		{ { .address = 10, .length = 10, .new_length = 5, .result = -EFAULT }, 18, 3 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		struct trace_event event = forms[i].event;
		struct trace_event exec = { .kind = TRACE_EXEC, .process = 1 };
		struct trace_event map = { .kind = TRACE_MAP, .process = 1, .placed = 10 * PAGE,
					   .length = 10 * PAGE, .attributes = 3 };
		struct trace_event protect = { .kind = TRACE_PROTECT, .process = 1,
					       .address = 14 * PAGE, .length = 2 * PAGE,
					       .attributes = 1 };
		struct space_model *model;
		struct space *space;
		struct space_range range;
		bool found;

		event.kind = TRACE_REMAP;
		event.process = 1;
		event.address *= PAGE;
		event.length *= PAGE;
		event.new_length *= PAGE;
		event.placed *= PAGE;
		assert_int_equal(space_model_create(&model), 0);
		assert_int_equal(space_create(&space, &space_model_ops, model), 0);
		assert_int_equal(space_apply(space, &exec), 0);
		assert_int_equal(space_apply(space, &map), 0);
		assert_int_equal(space_apply(space, &protect), 0);
		assert_int_equal(space_apply(space, &event), 0);
		found = space_model_next(model, 1, forms[i].page * PAGE, &range) &&
			range.start <= forms[i].page * PAGE;
		assert_int_equal(found ? (int)(range.attributes & TRACE_PROT) : -1, forms[i].prot);
		space_destroy(space);
		space_model_destroy(model);
	}
}

int
main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(recordings_match),
		cmocka_unit_test(missing_call_is_noticed),
		cmocka_unit_test(truncated_is_refused),
		cmocka_unit_test(flipped_bit_is_refused),
		cmocka_unit_test(appended_is_refused),
		cmocka_unit_test(damaged_text),
		cmocka_unit_test(wrong_lines),
		cmocka_unit_test(no_such_file),
		cmocka_unit_test(scaled_state),
		cmocka_unit_test(remap_forms),
	};
	int failed, descriptor = mkstemp(damaged);

	folder = argc > 1 ? argv[1] : getenv("CLEAVE_TRACES");
	if (!folder || descriptor < 0) {
		fprintf(stderr, "usage: test_trace FOLDER-OF-RECORDINGS\n");
		return 2;
	}
	close(descriptor);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(damaged);
	return failed;
}
