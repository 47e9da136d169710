/* SPDX-License-Identifier: ISC */
#include "pace.h"
#include "measure.h"

#define ADDITIONS 10000u /* of each chain: some 10 us */
#define START 0.2	 /* seconds */
#define SLOWER 1.1	 /* times the fastest: not at full pace */

static double fastest;
static double patience, spent;

/* As many chains as a core can add to at once: whoever takes one unit's time away is seen.  Seconds. */
static double probe(void)
{
	unsigned long a = 0, b = 0, c = 0, d = 0, e = 0, f = 0;
	double start = measure_wall(), seconds;

	for (unsigned int i = 0; i < ADDITIONS; i++) {
		a++, b++, c++, d++, e++, f++;
		/* The sums are not to be computed beforehand. */
		__asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
	}
	seconds = measure_wall() - start;
	if (!fastest || seconds < fastest)
		fastest = seconds;
	return seconds;
}

static bool full(void)
{
	return probe() <= SLOWER * fastest;
}

void pace_start(void)
{
	double start = measure_wall();

	while (measure_wall() - start < START)
		probe();
}

void pace_grant(double seconds)
{
	patience = seconds;
}

static void spend(double seconds)
{
	patience -= seconds;
	spent += seconds;
}

void pace_begin(struct pace *pace)
{
	double start = measure_wall();

	while (!full() && measure_wall() - start < patience)
		;
	pace->began = measure_wall();
	spend(pace->began - start);
	pace->full = true;
}

void pace_mark(struct pace *pace)
{
	pace->full = full();
}

bool pace_end(struct pace *pace)
{
	pace->full = pace->full && full();
	if (pace->full || patience <= 0)
		return true;
	spend(measure_wall() - pace->began);
	return false;
}

double pace_spent(void)
{
	return spent;
}
