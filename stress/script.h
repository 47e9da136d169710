/* SPDX-License-Identifier: ISC */
/*
 * What happened to the address space of one recorded process, from its begin to its end, as a list that can be carried
 * out by itself: a forked process starts with what it got from its parent.  And address spaces made larger.
 */
#ifndef STRESS_SCRIPT_H
#define STRESS_SCRIPT_H

#include <stdatomic.h>

#include "scale.h"
#include "space.h"
#include "trace.h"

struct recording {
	char name[48]; /* of the file, without its suffixes */
	struct trace_log *log;
	uint32_t processes;
	_Atomic uint64_t replays; /* of processes, to their ends */
	_Atomic uint64_t effects;
	_Atomic uint64_t snapshots;
};

struct script {
	struct recording *recording;
	uint32_t process;
	struct space_effect *effect; /* SPACE_MAP .. SPACE_ADVISE, SPACE_SNAPSHOT */
	size_t count;
	size_t room;
	size_t initial;	     /* so many at the start are SPACE_MAP of what is there from the start */
	size_t peak;	     /* entries, as the plain model joins them */
	struct scale *scale; /* not recorded but scaled: then there are only initial effects */
};

struct scripts {
	struct recording *recording;
	size_t recordings;
	struct script *script;
	size_t count;
	size_t room;
};

/*
 * Load all recordings of a directory, and scale some of them to `scale` ranges and more.
 * Return: 0 or negative errno, after a message: -EBADMSG for a damaged file, -ENOENT if there is none.
 */
int scripts_load(struct scripts *scripts, const char *directory, uint64_t scale, uint64_t seed);
void scripts_unload(struct scripts *scripts);

#endif
