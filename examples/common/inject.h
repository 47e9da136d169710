/* SPDX-License-Identifier: ISC */
/* Putting the agent into an image that has just been made by exec. */
#ifndef COMMON_INJECT_H
#define COMMON_INJECT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The agent's file: an executable linked for TRAP_BASE. */
struct agent_image {
	const unsigned char *file;
	size_t size;
	char shared_path[64]; /* where agents find the shared memory */
	size_t shared_size;
};

/* Read the file and check it.  Return: 0, or a negative errno value. */
int agent_image_read(struct agent_image *image, const char *path);

/*
 * `thread` is traced and stopped in its exec.  Afterwards it stands before its first instruction, still traced.
 *   Return: NULL, or what went wrong.
 */
const char *inject(const struct agent_image *image, pid_t thread, uint64_t boot_flags);

#endif
