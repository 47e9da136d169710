/* SPDX-License-Identifier: ISC */
/*
 * What the stand-ins for a kernel's functions need of userspace.  host.c is compiled with libc's headers, everything
 * else here with that kernel's; so this has no type of either.
 *
 * Misuse ends the program: sleeping in a section or with a mutex held, waiting for a mutex in a section where that
 * kernel does not allow it.
 */
#ifndef HOST_H
#define HOST_H

#include <stdbool.h>

typedef unsigned long host_number;

__attribute__((noreturn, format(printf, 1, 2))) void host_fail(const char *format, ...);
__attribute__((format(printf, 1, 2))) void host_note(const char *format, ...);

/* ---- Threads ---- */

void *host_thread(void (*body)(void *argument), void *argument);
void host_join(void *thread);
void host_nap(unsigned int microseconds);
host_number host_random(void); /* of the calling thread */

/* ---- Mutexes, in 8 words; channels to sleep on ---- */

void host_mutex_init(void *mutex);
void host_mutex_destroy(void *mutex);
void host_mutex_lock(void *mutex);
bool host_mutex_trylock(void *mutex);
void host_mutex_unlock(void *mutex);

void host_may_sleep(const char *who);
void host_channels_lock(void);
void host_channels_unlock(void);
/* The channels are locked; afterwards they are not. */
void host_channel_sleep(const void *channel);
void host_channel_wake(const void *channel);

/* ---- Read sections that nest, and their grace periods ---- */

void host_section_enter(void);
void host_section_leave(void);
bool host_section_inside(void);
/* From here on: have all sections that were open at the mark ended? */
host_number host_section_mark(void);
bool host_section_past(host_number mark);

/* ---- Memory, counted ---- */

void *host_alloc(host_number size, host_number align);
void host_free(void *memory);
host_number host_allocated(void); /* blocks */
void host_alloc_fails(bool fails);

#endif
