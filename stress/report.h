/* SPDX-License-Identifier: ISC */
#ifndef STRESS_REPORT_H
#define STRESS_REPORT_H

#include "job.h"

void report_begin(const struct job *job);
void report_exact(const struct job *job);
/* Every now and then. */
void report_progress(const struct job *job, uint64_t elapsed_ns);
void report_end(const struct job *job);
/* Return: false: that could not be written, and this was said. */
bool report_json(const struct job *job, const char *path);

#endif
