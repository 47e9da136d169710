/* SPDX-License-Identifier: ISC */
/* What a test asks of the stand-ins for a kernel (mock_....c). */
#ifndef MOCK_H
#define MOCK_H

#include <stdbool.h>

/* Before the first domain, and after the last one. */
void mock_start(void);
void mock_stop(void);

/* No grace period of the kernel's own is seen to end until they are let go. */
void mock_hold(bool hold);

/* How many the port has started so far. */
unsigned long mock_started(void);

/* May a thread of this kernel be in a section of one domain twice? */
extern const bool mock_sections_nest;

#endif
